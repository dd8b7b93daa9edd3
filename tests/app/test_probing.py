"""Trying all upstreams of a configuration: each once, and none holds up the others."""

from pathlib import Path

import pytest

from relay.app.probing import Probed, probe_count, probe_upstreams
from relay.config import Settings, load
from tests.cli.conftest import CONFIGURATION
from tests.config.files import GOOD, good
from tests.harness.authority import Authority
from tests.harness.clock import ManualClock
from tests.harness.tls_server import TlsServer
from tests.harness.upstream import (
    Behaviour,
    RefusingPort,
    Upstream,
    answer,
    close,
    hang,
    says,
)

SECRETS = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "a-secret"}


async def test_each_is_tried_and_none_holds_up_the_others(tmp_path: Path) -> None:
    async with Upstream() as upstream, Upstream(hang) as silent:
        with RefusingPort() as closed:
            urls = {"silent": silent.url, "closed": closed}
            urls |= {f"good-{at}": f"{upstream.url}/{at}?canary" for at in range(30)}
            named = (
                f'{name}: {{url: "{url}", timeout: {"300ms" if name == "silent" else "5s"}}}'
                for name, url in urls.items()
            )
            file = tmp_path / "relay.yaml"
            one = '{billing: {url: "http://127.0.0.1:1/"}}'
            text = CONFIGURATION.replace(one, f"{{{', '.join(named)}}}")
            file.write_text(text.replace("upstream: billing", "upstream: silent"))
            settings = load(file, SECRETS)
            counted: list[None] = []
            found = await probe_upstreams(
                settings, {"closed"}, ManualClock(), lambda: counted.append(None)
            )
    assert probe_count(settings) == len(counted) == len(found) == 32
    assert [each.upstream for each in found] == list(urls)
    assert [each.upstream for each in found if not each.ok] == ["silent", "closed"]
    assert [each.upstream for each in found if each.paused] == ["closed"]
    assert {received.method for received in upstream.received} == {"HEAD"}
    assert {each.target for each in upstream.received} == {f"/{at}" for at in range(30)}
    assert "canary" not in repr(found)


def with_tokens(tmp_path: Path, upstream: str, tokens: str) -> Settings:
    """Return settings whose one upstream needs tokens."""
    auth = f'oauth2: {{token_url: "{tokens}", client_id: relay, client_secret: "canary-secret"}}'
    one = f'{{billing: {{url: "{upstream}", timeout: 2s, auth: {{{auth}}}}}}}'
    file = tmp_path / "relay.yaml"
    file.write_text(CONFIGURATION.replace('{billing: {url: "http://127.0.0.1:1/"}}', one))
    return load(file, SECRETS)


async def tried(settings: Settings) -> tuple[Probed, Probed]:
    server, upstream = await probe_upstreams(settings, (), ManualClock(), lambda: None)
    assert (server.server, upstream.server) == ("token server", "upstream")
    assert "canary" not in f"{server} {upstream}"
    return server, upstream


async def test_a_token_is_fetched_and_sent(tmp_path: Path) -> None:
    issued = {"access_token": "canary-token", "token_type": "Bearer", "expires_in": 60}
    async with Upstream() as upstream, Upstream(says(issued)) as tokens:
        settings = with_tokens(tmp_path, upstream.url, f"{tokens.url}/token?canary")
        server, reached = await tried(settings)
        assert server.url == f"{tokens.url}/token?…"
        assert [each.step for each in server.steps] == ["name", "tcp"]
        assert [(each.step, each.detail) for each in reached.steps][-2:] == [
            ("credentials", "a token was fetched; Authorization will be sent"),
            ("http", "answers 200 to HEAD: reached"),
        ]
        assert (server.ok, reached.ok) == (True, True)
        assert [each.method for each in tokens.received] == ["POST"]
        assert upstream.received[0].values("Authorization") == ["Bearer canary-token"]


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (says({"error": "invalid_client"}, 401), "invalid_client"),
        (says({"canary": 1}), "no access_token"),
        (answer(200, body=b"<html>canary" * 10), "no JSON object"),
        (answer(503), "status 503"),
        (close, "closed"),
    ],
)
async def test_why_there_is_no_token_is_told_and_the_upstream_is_not_asked(
    behaviour: Behaviour, said: str, tmp_path: Path
) -> None:
    async with Upstream() as upstream, Upstream(behaviour) as tokens:
        server, reached = await tried(with_tokens(tmp_path, upstream.url, tokens.url))
        assert (server.ok, reached.ok) == (True, False)
        step = reached.steps[-1]
        assert (step.step, step.detail) == (
            "credentials",
            f"token: the token server gave none: {said}",
        )
        assert upstream.received == []


async def test_a_token_server_that_is_not_there_is_told_of_both(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        with RefusingPort() as closed:
            server, reached = await tried(with_tokens(tmp_path, upstream.url, closed))
    assert server.steps[-1].detail.startswith("refused: ")
    assert reached.steps[-1].detail == "token: the token server gave none: refused"


async def test_tls_is_tried_as_deliveries_have_it(tmp_path: Path) -> None:
    own, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    pair = clients.issue("relay")
    tls = f"ca: {own.file}, server_name: billing.internal"
    shown = f", certificate: {pair.certificate}, key: {pair.key}"
    with TlsServer(own.server("billing.internal", clients=clients)) as upstream:
        for more, said in ((shown, "answers 200 to HEAD: reached"), ("", _WANTED)):
            text = f'{{url: "{upstream.url}", tls: {{{tls}{more}}}}}'
            settings = good(GOOD.replace('{url: "http://127.0.0.1:8081/webhooks"}', text))
            [found] = await probe_upstreams(settings, (), ManualClock(), lambda: None)
            assert found.steps[-1].detail == said


_WANTED = "tls: client certificate wanted: tls.certificate and tls.key name the files of one"
