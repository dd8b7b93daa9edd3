"""Trying an upstream: what is seen of servers as they should be, and of all others."""

import socket
import threading
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from relay.core.secret import Secret
from relay.delivery.credentials import Credentials
from relay.delivery.probe import ProbeTarget, Step, probe, probe_connection
from tests.delivery.http.peer import Peer
from tests.harness.clock import ManualClock
from tests.harness.upstream import (
    Behaviour,
    RefusingPort,
    Upstream,
    answer,
    close,
    hang,
    reset,
    send,
)

CLOCK = ManualClock(datetime(2026, 1, 5, 12, tzinfo=UTC))

KEYED = Credentials({"X-Api-Key": Secret("canary-1")}, bearer=Secret("canary-2"))


async def seen(
    url: str,
    *,
    seconds: float = 5.0,
    credentials: Credentials | None = None,
) -> list[Step]:
    return await probe(ProbeTarget(url, seconds, credentials=credentials), CLOCK)


async def last(url: str, seconds: float = 5.0) -> tuple[str, bool, str]:
    step = (await seen(url, seconds=seconds))[-1]
    return step.step, step.ok, step.detail


async def test_an_upstream_that_answers_is_reached_by_a_head_without_the_query() -> None:
    async with Upstream() as upstream:
        steps = await seen(f"{upstream.url}/hooks?wc-api=X", credentials=KEYED)
        assert steps == [
            Step("name", True, "127.0.0.1"),
            Step("tcp", True, f"127.0.0.1, port {upstream.port}"),
            Step("credentials", True, "X-Api-Key, Authorization will be sent"),
            Step("http", True, "answers 200 to HEAD: reached"),
        ]
        (received,) = upstream.received
    assert (received.method, received.target) == ("HEAD", "/hooks")
    assert received.headers == [
        ("Host", f"127.0.0.1:{upstream.port}"),
        ("X-Api-Key", "canary-1"),
        ("Authorization", "Bearer canary-2"),
    ]
    assert "canary" not in repr(steps)


@pytest.mark.parametrize("status", [400, 404, 405, 500, 501])
async def test_where_a_head_says_nothing_an_options_is_sent_and_never_a_post(status: int) -> None:
    async with Upstream(answer(status), answer(204)) as upstream:
        assert await last(upstream.url) == ("http", True, "answers 204 to OPTIONS: reached")
        assert [each.method for each in upstream.received] == ["HEAD", "OPTIONS"]


async def test_an_options_that_is_forbidden_says_nothing() -> None:
    async with Upstream(answer(405), answer(403)) as upstream:
        assert await last(upstream.url) == ("http", True, "answers 405 to HEAD: reached")


@pytest.mark.parametrize(
    ("status", "ok", "said"),
    [
        (201, True, "answers 201 to HEAD: reached"),
        (404, True, "answers 404 to OPTIONS: reached"),
        (405, True, "answers 405 to OPTIONS: reached"),
        (415, True, "answers 415 to HEAD: reached"),
        (501, True, "answers 501 to OPTIONS: reached"),
        (401, False, "answers 401 to HEAD: it wants credentials, and none are configured"),
        (500, False, "answers 500 to OPTIONS: it is there, and has an error"),
        (101, False, "answers 101 to HEAD: HTTP has no such answer to it"),
        (999, False, "answers 999 to HEAD: HTTP has no such answer to it"),
        (503, False, "answers 503 to HEAD: it is there, and has an error"),
    ],
)
async def test_a_status_says_whether_events_can_be_sent(status: int, ok: bool, said: str) -> None:
    async with Upstream(answer(status)) as upstream:
        assert await last(upstream.url) == ("http", ok, said)


async def test_a_key_in_the_query_is_not_sent_so_that_nothing_is_known_of_it() -> None:
    async with Upstream(answer(401)) as upstream:
        step, ok, said = await last(f"{upstream.url}/generic-webhook-trigger/invoke?token=canary")
        assert [each.target for each in upstream.received] == ["/generic-webhook-trigger/invoke"]
    assert (step, ok) == ("http", True)
    assert said == "answers 401 to HEAD: reached; what the query of its URL holds was not sent"


@pytest.mark.parametrize("status", [401, 403])
async def test_credentials_that_are_refused_are_told_apart_from_none(status: int) -> None:
    async with Upstream(answer(status)) as upstream:
        steps = await seen(upstream.url, credentials=KEYED)
    said = f"answers {status} to HEAD: the credentials were refused"
    assert steps[-1] == Step("http", False, said)


@pytest.mark.parametrize(
    ("location", "to"),
    [
        ("https://login.example/in?token=canary", " to login.example"),
        ("/elsewhere?canary", " to 127.0.0.1"),
        ("https://a\u202eb.example/".encode().decode("latin-1"), ""),
        ("https://[", ""),
        ("", ""),
    ],
)
async def test_a_redirect_is_not_followed_and_only_its_host_is_told(location: str, to: str) -> None:
    async with Upstream(answer(302, [("Location", location)])) as upstream:
        step, ok, said = await last(upstream.url)
        assert len(upstream.received) == 1
    assert (step, ok) == ("http", False)
    assert said.startswith("answers 302 to HEAD: a redirect")
    assert said.endswith("which is never followed")
    assert to in said
    assert said.isascii()
    assert "canary" not in said


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (close, "closed: it closes the connection without an answer"),
        (reset, "reset: it breaks the connection without an answer"),
        (send(b"SSH-2.0-OpenSSH_9.2\r\n", hang), "malformed: what it answers is not HTTP"),
        (send(b"HTTP/1.1 200 OK\r\ncanary", hang), "timeout: no answer within 0.2 s"),
        (hang, "timeout: no answer within 0.2 s"),
    ],
)
async def test_one_that_does_not_answer_is_told_by_what_it_does(
    behaviour: Behaviour, said: str
) -> None:
    async with Upstream(behaviour) as upstream:
        assert await last(upstream.url, seconds=0.2) == ("http", False, said)


async def test_a_server_may_be_connected_to_and_asked_nothing() -> None:
    async with Upstream() as upstream:
        steps = await probe_connection(ProbeTarget(upstream.url, 5.0), CLOCK)
        assert [(each.step, each.ok) for each in steps] == [("name", True), ("tcp", True)]
        assert upstream.received == []


async def test_a_closed_port_is_told() -> None:
    with RefusingPort() as url:
        step, ok, said = await last(url)
    assert (step, ok) == ("tcp", False)
    assert said.startswith("refused: nothing listens on port ")


async def test_a_handshake_that_never_comes_is_told() -> None:
    with Peer() as peer:
        url = f"https://127.0.0.1:{peer.port}"
        assert await last(url, seconds=0.2) == ("tls", False, "timeout: no answer within 0.2 s")


async def test_a_name_that_does_not_exist_is_told() -> None:
    step, ok, said = await last("http://nowhere.invalid/")
    assert (step, ok) == ("name", False)
    assert said.startswith("dns: ")


async def test_a_dead_name_server_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def getaddrinfo(host: str, *_: object, flags: int = 0, **__: object) -> list[object]:
        if not flags:
            answered.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "canary")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    said = "timeout: no answer within 0.1 s"
    assert await last("http://billing.internal/", seconds=0.1) == ("name", False, said)
    answered.set()
    said = "dns: the name server does not answer"
    assert await last("http://billing.internal/") == ("name", False, said)


def named(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have every name those addresses."""

    def getaddrinfo(host: str, port: int, *, flags: int = 0, **__: object) -> object:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_addresses_of_a_name_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Upstream() as upstream:
        named(monkeypatch, *(f"127.0.0.{at}" for at in (1, 2, 3, 4, 5)))
        name, tcp, *_ = await seen(f"http://billing.internal:{upstream.port}/")
    assert name.detail == "127.0.0.1, 127.0.0.2, 127.0.0.3, 127.0.0.4 and 1 more"
    assert tcp.detail == f"127.0.0.1, port {upstream.port}"


async def test_addresses_that_are_never_called_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Upstream() as upstream:
        url = f"http://billing.internal:{upstream.port}/"
        named(monkeypatch, "127.0.0.1", "169.254.169.254")
        name, *_ = await seen(url)
        assert name.ok
        assert name.detail.startswith("127.0.0.1; never called, ")
        assert name.detail.endswith(": 169.254.169.254")
        named(monkeypatch, "169.254.169.254")
        step, ok, said = await last(url)
        assert (step, ok) == ("name", False)
        assert said.startswith("address not allowed: 169.254.169.254, ")
        listed = ProbeTarget(url, 0.05, allowed=(ip_network("169.254.169.254/32"),))
        assert (await probe(listed, CLOCK))[0] == Step("name", True, "169.254.169.254")
