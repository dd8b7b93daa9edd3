"""`relay check --connect`: every upstream is tried, and 1 says that one cannot be reached."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson

from relay.core.clock import SystemClock
from relay.spool.audit import Actor
from relay.spool.sqlite import open_spool
from tests.cli.conftest import CONFIGURATION, Invoke
from tests.harness.deliveries import verified
from tests.harness.upstream import Behaviour, RefusingPort, Upstream


@contextmanager
def serving(*behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    """Serve an upstream on a loop of its own: a verb has one for itself."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    upstream = Upstream(*behaviours, tls=tls)
    asyncio.run_coroutine_threadsafe(upstream.__aenter__(), loop).result()
    try:
        yield upstream
    finally:
        ended = upstream.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(ended, loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def write(config: Path, **upstreams: str) -> None:
    """Write a configuration with these upstreams besides `billing`, the first of them in it."""
    more = ", ".join(f'{name}: {{url: "{url}"}}' for name, url in upstreams.items())
    config.write_text(
        CONFIGURATION.replace('{billing: {url: "http://127.0.0.1:1/"}}', f"{{{more}}}")
    )


def test_upstreams_that_answer_are_told_step_by_step(relay: Invoke, config: Path) -> None:
    with serving() as upstream:
        write(config, billing=f"{upstream.url}/?token=canary")
        result = relay("check", "-c", config, "--connect")
        (received,) = upstream.received
    assert (received.method, received.target) == ("HEAD", "/")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    at = rows.index(["upstream", f"billing, {upstream.url}/?…"])
    assert rows[at + 1 :] == [
        ["name", "127.0.0.1"],
        ["tcp", f"127.0.0.1, port {upstream.port}"],
        ["http", "answers 200 to HEAD: reached"],
    ]
    assert result.exit_code == 0
    assert "canary" not in result.output


def test_one_that_cannot_be_reached_is_exit_1_and_on_standard_error(
    relay: Invoke, config: Path
) -> None:
    with serving() as upstream, RefusingPort() as closed:
        write(config, billing=upstream.url, ledger=f"{closed}/?token=canary")
        result = relay("check", "-c", config, "--connect")
        as_json = relay("check", "-c", config, "--connect", "--format", "json")
    assert (result.exit_code, as_json.exit_code) == (1, 1)
    port = closed.rpartition(":")[2]
    said = f"refused: nothing listens on port {port} there, or a firewall refuses"
    assert f"tcp\tFAILED: {said}\n" in result.stdout
    assert f"ledger: {said}\n" in result.stderr
    assert "canary" not in result.output + as_json.output
    billing, ledger = orjson.loads(as_json.stdout)["connect"]
    assert (billing["upstream"], billing["ok"], billing["paused"]) == ("billing", True, False)
    assert ledger == {
        "upstream": "ledger",
        "server": "upstream",
        "url": f"{closed}/?…",
        "paused": False,
        "ok": False,
        "steps": [
            {"step": "name", "ok": True, "detail": "127.0.0.1"},
            {"step": "tcp", "ok": False, "detail": said},
        ],
    }


def test_a_paused_one_is_tried_too_and_said_to_be_paused(relay: Invoke, config: Path) -> None:
    async def pause() -> None:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        await spool.put(verified(key="1"))
        await spool.pauses.pause("ledger", Actor.CLI, datetime(2026, 1, 5, tzinfo=UTC))
        await spool.close()

    asyncio.run(pause())
    with serving() as upstream:
        write(config, billing=f'{upstream.url}", paused: true, timeout: "5s', ledger=upstream.url)
        result = relay("check", "-c", config, "--connect")
        assert len(upstream.received) == 2
    assert f"upstream\tbilling, {upstream.url}, paused\n" in result.stdout
    assert f"upstream\tledger, {upstream.url}, paused\n" in result.stdout
    assert result.exit_code == 0


def test_it_goes_with_the_other_questions(relay: Invoke, config: Path) -> None:
    async def store() -> None:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        await spool.close()

    asyncio.run(store())
    with serving() as upstream:
        write(config, billing=upstream.url)
        words = ("--resolve", "--connect", "--replay", "1d", "--format", "json")
        found = orjson.loads(relay("check", "-c", config, *words).stdout)
    assert {"hosts", "connect", "replay"} <= found.keys()
    assert "connect" not in orjson.loads(relay("check", "-c", config, "--format", "json").stdout)
