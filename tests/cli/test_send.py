"""A sample is posted as the provider would."""

import asyncio
import errno
import hmac
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import orjson
import pytest

from relay.cli.send import Reply, Unsent, post
from relay.cli.send_endpoint import public_url_of
from relay.config.yaml_document import Unreadable, parse
from relay.core.clock import SystemClock
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Sample, SampleOrder
from relay.providers.builtin import provider_named
from tests.cli.conftest import Invoke
from tests.harness.upstream import RefusingPort, Upstream, answer, reset

NOT_THERE = os.strerror(errno.ENOENT)


@pytest.fixture
def receiver() -> Iterator[Upstream]:
    """An upstream in a thread, because the command runs a loop of its own."""
    ready, stop = threading.Event(), asyncio.Event()
    running: list[tuple[Upstream, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with Upstream(answer(200, body=b"OK")) as upstream:
            running.append((upstream, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)
    upstream, loop = running[0]
    yield upstream
    loop.call_soon_threadsafe(stop.set)
    thread.join()


def test_a_signed_sample_is_posted(relay: Invoke, receiver: Upstream) -> None:
    words = ("send", "midtrans", "--to", f"{receiver.url}/hook?a=1", "--secret", "key")
    result = relay(*words, "--from", "34.101.68.130", "--set", "order_id=o-1", "--repeat", 2)
    assert result.exit_code == 0
    first, second = receiver.received
    assert (first.method, first.target) == ("POST", "/hook?a=1")
    assert first.values("X-Forwarded-For") == ["34.101.68.130"]
    assert orjson.loads(first.body)["order_id"] == "o-1"
    assert first.body == second.body


def test_what_a_provider_appends_goes_before_the_query(relay: Invoke, receiver: Upstream) -> None:
    to = f"{receiver.url}/hook?shop=7"
    words = ("send", "vipps-callback", "--to", to, "--secret", "a-token")
    assert relay(*words, "--set", "orderId=o-1").exit_code == 0
    (received,) = receiver.received
    assert received.target == "/hook/v2/payments/o-1?shop=7"


def test_every_provider_can_be_sent(relay: Invoke, receiver: Upstream) -> None:
    for provider in ("midtrans", "vipps"):
        result = relay("send", provider, "--to", receiver.url, "--secret", "key")
        assert result.exit_code == 0


def test_a_sender_is_sent_from_its_file(relay: Invoke, receiver: Upstream) -> None:
    file = Path(__file__).parents[2] / "config/senders/github.yaml"
    words = ("send", file, "--to", f"{receiver.url}/hook", "--secret", "key")
    assert relay(*words, "--set", "repository/name=relay").exit_code == 0
    (sent,) = receiver.received
    assert orjson.loads(sent.body)["repository"]["name"] == "relay"
    signature = hmac.digest(b"key", sent.body, "sha256").hex()
    assert sent.values("X-Hub-Signature-256") == [f"sha256={signature}"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the configuration."""
    monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "relay.yaml"))
    return tmp_path


VIPPS = """endpoints:
  - {name: other, path: /other, provider: vipps, public_url: "https://no.example.com/other"}
  - name: vipps
    path: /vipps
    provider: vipps
    secrets: ["${env:NOT_SET_HERE}"]
    public_url: "https://pay.example.com/hooks/vipps"
"""


@pytest.mark.parametrize(
    ("text", "path", "url"),
    [
        (VIPPS, "/vipps", "https://pay.example.com/hooks/vipps"),
        (VIPPS, "/elsewhere", None),
        (VIPPS.replace("provider: vipps", "provider: midtrans"), "/vipps", None),
        ("endpoints: 5", "/vipps", None),
        ("endpoints: [5, {path: /vipps, provider: vipps, public_url: 5}]", "/vipps", None),
        ("{", "/vipps", None),
    ],
)
def test_the_public_url_of_a_path_is_read_from_the_file(
    text: str, path: str, url: str | None
) -> None:
    with suppress(Unreadable):
        assert public_url_of(parse(text).data, "vipps", path) == url


@pytest.mark.parametrize(
    ("path", "signed"),
    [("/vipps", "https://pay.example.com/hooks/vipps"), ("/elsewhere", None)],
)
def test_the_public_url_of_the_endpoint_is_signed(
    path: str, signed: str | None, relay: Invoke, receiver: Upstream, here: Path
) -> None:
    (here / "relay.yaml").write_text(VIPPS)
    to = f"{receiver.url}{path}"
    result = relay("send", "vipps", "--to", to, "--secret", "key")
    assert result.exit_code == 0
    assert ("signing" in result.stderr) == (signed is not None)
    (sent,) = receiver.received
    assert sent.target == path
    head = RequestHead(
        "POST",
        path,
        Headers(tuple(sent.headers)),
        ip_address("127.0.0.1"),
        SystemClock().now(),
    )
    client = ClientAddress(head.peer, Via.PEER)
    options = EndpointOptions((Secret("key"),), public_url=signed or to)
    inspector = provider_named("vipps").bind(options)
    assert inspector.verify(Delivery("vipps", head, client, "", sent.body)).secret == 0


GITHUB = Path(__file__).parents[2] / "config/senders/github.yaml"


def test_a_file_that_trusts_a_proxy_here_is_sent_through_one(
    relay: Invoke, receiver: Upstream
) -> None:
    result = relay("send", GITHUB, "--to", receiver.url, "--secret", "key")
    assert result.stderr == (
        f"relay send: {GITHUB} trusts a proxy on this machine; playing it for 192.0.2.7, in"
        " X-Forwarded-For (--from names another)\n"
    )
    relay("send", GITHUB, "--to", receiver.url, "--secret", "key", "--from", "198.51.100.1")
    first, second = receiver.received
    assert first.values("X-Forwarded-For") == ["192.0.2.7"]
    assert second.values("X-Forwarded-For") == ["198.51.100.1"]


@pytest.mark.parametrize(
    ("change", "client"),
    [
        (('allowlist: {mode: "off"}', "allowlist: {add: [198.51.100.8/29]}"), "198.51.100.8"),
        (
            ('allowlist: {mode: "off"}', "allowlist: {replace: [a.example, 2001:db8::1]}"),
            "2001:db8::1",
        ),
        (('allowlist: {mode: "off"}', "allowlist: {replace: [a.example]}"), None),
        (('trusted_proxies: ["127.0.0.1"]', ""), None),
        (('trusted_proxies: ["127.0.0.1"]', "trusted_proxies: [10.0.0.0/8, nonsense, 5]"), None),
        (('trusted_proxies: ["127.0.0.1"]', 'trusted_proxies: ["127.0.0.0/8"]'), "192.0.2.7"),
    ],
)
def test_it_is_sent_for_an_address_that_the_file_lets_send(
    change: tuple[str, str], client: str | None, relay: Invoke, receiver: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "file.yaml").write_text(GITHUB.read_text().replace(*change))
    relay("send", tmp_path / "file.yaml", "--to", receiver.url, "--secret", "key")
    (sent,) = receiver.received
    assert sent.values("X-Forwarded-For") == ([] if client is None else [client])


def test_without_a_client_a_relay_that_wants_one_is_told_of_before(
    relay: Invoke, receiver: Upstream, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("send", "midtrans", "--to", receiver.url, "--secret", "key")
    monkeypatch.setenv("RELAY_CONFIG", str(config))
    assert relay(*words).stderr == (
        f"relay send: {config} trusts a proxy on this machine, and without --from none names the"
        " client: the relay of that file will refuse this\n"
    )
    assert relay(*words, "--from", "192.0.2.1").stderr == ""
    config.write_text(config.read_text().replace("127.0.0.1/32", "10.0.0.0/8"))
    assert relay(*words).stderr == ""
    config.write_text("[")
    assert relay(*words).stderr == ""
    config.unlink()
    assert relay(*words).stderr == ""


def test_an_answer_that_is_no_success_is_exit_1(relay: Invoke, receiver: Upstream) -> None:
    receiver.behave(answer(403, body=b"no"))
    result = relay("send", "vipps", "--to", receiver.url, "--secret", "key", "--format", "json")
    assert result.exit_code == 1
    assert orjson.loads(result.stdout) == [{"status": 403, "body": "no"}]


def test_nobody_there_is_one_plain_line(relay: Invoke) -> None:
    with RefusingPort() as url:
        result = relay("send", "midtrans", "--to", url, "--secret", "key")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"relay send: no answer from {url}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("send", "midtran", "--to", "http://x", "--secret", "s"), 'no provider named "midtran"'),
        (("send", "midtrans", "--to", "http://x"), "give --secret, or --key"),
        (("send", "midtrans", "--to", "notaurl", "--secret", "s"), '"notaurl" is no URL'),
        (("send", "midtrans", "--to", "ftp://x/", "--secret", "s"), '"ftp://x/" is no URL'),
        (
            ("send", "midtrans", "--to", "http://x", "--secret", "s", "--from", "1.2.3.4\r\nX: y"),
            "is no IP address",
        ),
        (
            ("send", "midtrans", "--to", "http://x", "--secret", "s", "--set", "order_id"),
            '"order_id" is not key=value',
        ),
        (
            ("send", "midtrans", "--to", "http://x", "--key", "/nowhere/key.pem"),
            NOT_THERE,
        ),
    ],
)
def test_a_mistake_in_the_call_is_exit_2(
    words: tuple[str, ...], message: str, relay: Invoke
) -> None:
    result = relay(*words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


# ---- sender ---------------------------------------------------------------------------------
# A sample goes over the wire as the provider would send it.


def sample(provider: str, url: str) -> Sample:
    order = SampleOrder(url, Secret("key"), datetime(2026, 1, 5, tzinfo=UTC))
    made: Sample = provider_named(provider).sample(order)
    return made


@pytest.mark.parametrize("provider", ["midtrans", "vipps"])
async def test_bytes_target_and_headers_arrive_as_signed(provider: str) -> None:
    async with Upstream(answer(200, body=b"OK")) as receiver:
        url = f"{receiver.url}/a%2Fb?x=1"
        sent = sample(provider, url)
        assert await post(url, sent, "34.101.68.130") == Reply(200, "OK")
    (got,) = receiver.received
    assert (got.method, got.target, got.body) == (sent.method, "/a%2Fb?x=1", sent.body)
    assert set(sent.headers) <= set(got.headers)
    assert got.values("X-Forwarded-For") == ["34.101.68.130"]


async def test_without_a_client_nothing_is_forwarded() -> None:
    async with Upstream() as receiver:
        await post(receiver.url, sample("midtrans", receiver.url))
    own = {"host", "content-length"} | {name.lower() for name, _ in sample("midtrans", "x").headers}
    assert {name.lower() for name, _ in receiver.received[0].headers} == own


async def test_a_redirect_is_an_answer() -> None:
    async with Upstream(answer(302, [("Location", "/elsewhere")])) as receiver:
        assert (await post(receiver.url, sample("midtrans", receiver.url))).status == 302
    assert len(receiver.received) == 1


async def test_no_answer_says_who_did_not_answer() -> None:
    with RefusingPort() as url, pytest.raises(Unsent, match=f"no answer from {url}"):
        await post(url, sample("midtrans", url))
    async with Upstream(reset) as receiver:
        with pytest.raises(Unsent, match="no answer from"):
            await post(receiver.url, sample("midtrans", receiver.url))
