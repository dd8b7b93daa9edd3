"""`relay send` of a sender that asks for an access token first."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.harness.upstream import Upstream, answer
from tests.providers.snap.dialects import KEYS

GIVEN = b'{"responseCode":"2007300","accessToken":"the-token","tokenType":"Bearer"}'


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Return the words that name a sender, its secret and its key."""
    (tmp_path / "bank.yaml").write_text("provider: {name: bank, snap: {signature: symmetric}}\n")
    (tmp_path / "private.pem").write_bytes(KEYS.signing.reveal())
    key = ["--key", str(tmp_path / "private.pem")]
    return ["send", str(tmp_path / "bank.yaml"), "--secret", "a-secret", *key]


@contextmanager
def receiving(body: bytes, status: int = 200) -> Iterator[Upstream]:
    """Run an upstream in a thread, because the command runs a loop of its own."""
    ready, stop = threading.Event(), asyncio.Event()
    running: list[tuple[Upstream, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with Upstream(answer(status, body=body)) as upstream:
            running.append((upstream, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)
    upstream, loop = running[0]
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def test_a_token_is_asked_for_once_and_signed_with(relay: Invoke, words: list[str]) -> None:
    with receiving(GIVEN) as receiver:
        named = ("--set", "X-CLIENT-KEY=me", "--repeat", 2)
        result = relay(*words, "--to", f"{receiver.url}/bank", *named)
        assert result.exit_code == 0, result.stderr
    asked, first, second = receiver.received
    assert asked.target == "/bank/v1.0/access-token/b2b"
    assert asked.values("X-CLIENT-KEY") == ["me"]
    assert first.target == "/bank/v1.0/qr/qr-mpm-notify"
    assert first.values("Authorization") == second.values("Authorization") == ["Bearer the-token"]
    assert "the-token" not in result.stdout.replace(GIVEN.decode(), "") + result.stderr


@pytest.mark.parametrize(
    ("body", "status"), [(b'{"responseCode":"4017300"}', 401), (b"no json", 200), (b"{}", 200)]
)
def test_without_a_token_nothing_is_sent(
    body: bytes, status: int, relay: Invoke, words: list[str]
) -> None:
    with receiving(body, status) as receiver:
        result = relay(*words, "--to", receiver.url)
        assert result.exit_code == 1
        assert f"asked for an access token, and was answered {status} " in result.stderr
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (slice(0, -2), "bank asks for an access token first; give the private key"),
        (slice(0, 2), "give --secret, or --key"),
    ],
)
def test_it_needs_both_of_its_keys(left: slice, said: str, relay: Invoke, words: list[str]) -> None:
    result = relay(*words[left], "--to", "http://127.0.0.1:1/")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("\u2502", " ").split())
