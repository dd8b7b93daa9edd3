"""A sample is posted as the provider would."""

import asyncio
import hmac
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.cli.conftest import Invoke
from tests.harness.upstream import RefusingPort, Upstream, answer


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


def test_every_provider_can_be_sent(relay: Invoke, receiver: Upstream) -> None:
    for provider in ("midtrans", "vipps"):
        result = relay("send", provider, "--to", receiver.url, "--secret", "key")
        assert result.exit_code == 0


def test_a_sender_is_sent_from_its_file(relay: Invoke, receiver: Upstream) -> None:
    file = Path(__file__).parents[2] / "config/senders/github.yaml"
    words = ("send", file, "--to", f"{receiver.url}/hook", "--secret", "key")
    assert relay(*words, "--set", "repository/name=relay").exit_code == 0
    (sent,) = receiver.received
    assert orjson.loads(sent.body)["repository"] == {"name": "relay"}
    signature = hmac.digest(b"key", sent.body, "sha256").hex()
    assert sent.values("X-Hub-Signature-256") == [f"sha256={signature}"]


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
            "No such file or directory",
        ),
    ],
)
def test_a_mistake_in_the_call_is_exit_2(
    words: tuple[str, ...], message: str, relay: Invoke
) -> None:
    result = relay(*words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
