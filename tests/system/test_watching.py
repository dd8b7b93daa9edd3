"""Somebody watches relay from a terminal: its status, and what happens, over a restart of it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.harness.deliveries import ENVIRON, STRANGER, midtrans_body, midtrans_request
from tests.harness.deliveries import configuration as plain_configuration
from tests.harness.node import Node, command, output
from tests.harness.ports import free_port
from tests.harness.terminal import Terminal
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange


def configuration(upstream: str, port: int) -> str:
    """Return one whose admin listener is found again after a restart."""
    text = plain_configuration(upstream)
    assert 'admin: {bind: "127.0.0.1:0"' in text
    return text.replace('admin: {bind: "127.0.0.1:0"', f'admin: {{bind: "127.0.0.1:{port}"')


async def deliver(node: Node, order: str, client: str | None = None) -> int:
    sent = midtrans_body(transaction_id=order)
    request = midtrans_request(sent) if client is None else midtrans_request(sent, client)
    return (await exchange(node.public[0], request)).status


@asynccontextmanager
async def tailing(config: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `relay events tail`; it is ended by Ctrl-C."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "events", "tail", "-c", str(config), *words),
        env={**os.environ, **ENVIRON},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def said(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    async with asyncio.timeout(30):
        return (await stream.readline()).decode()


async def happening(process: asyncio.subprocess.Process) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(await said(process.stdout))
    return found


async def listened_to(node: Node, tail: asyncio.subprocess.Process) -> dict[str, Any]:
    """Deliver until `tail` tells of it, which takes a while to begin; return what it tells."""
    telling = asyncio.get_running_loop().create_task(happening(tail))
    for number in range(1000):
        assert await deliver(node, f"first-{number}") == 200
        done, _ = await asyncio.wait({telling}, timeout=0.2)
        if done:
            break
    return await telling


async def test_what_happens_is_told_over_a_restart(tmp_path: Path) -> None:
    config = tmp_path / "relay.yaml"
    async with Upstream() as upstream:
        config.write_text(configuration(upstream.url, free_port()))
        async with Node(config, ENVIRON) as node, tailing(config, "--format", "json") as tail:
            assert (await listened_to(node, tail))["endpoint"] == "midtrans"
            assert await deliver(node, "second") == 200
            assert await deliver(node, "stranger", STRANGER) == 403
            awaited = {("delivery", "source_not_allowed", None), ("attempt", None, "delivered")}
            while awaited:
                told = await happening(tail)
                awaited.discard((told["kind"], told.get("reason"), told["status"]))
            assert await node.end() == 0
            assert "is gone; waiting for it to come back" in await said(tail.stderr)
            async with Node(config, ENVIRON) as again:
                assert "it is back" in await said(tail.stderr)
                assert await deliver(again, "later") == 200
                while "later" not in str((await happening(tail)).get("key")):
                    pass


async def test_the_status_is_watched_on_a_terminal_until_ctrl_c(tmp_path: Path) -> None:
    config = tmp_path / "relay.yaml"
    config.write_text(configuration("http://127.0.0.1:1", free_port()))
    async with Node(config, ENVIRON) as node, Terminal(tmp_path, ENVIRON) as terminal:
        terminal.type(f"{sys.executable} -m relay status --watch; echo ended with $?\n")
        await terminal.shows("Endpoints")
        assert await deliver(node, "one") == 200
        await terminal.shows(r"midtrans +│ \d+ s ago +│ 1 ")
        assert await node.end() == 0
        await terminal.shows("no relay answers .*; read from the spool")
        terminal.type("\x03")
        await terminal.shows("ended with 0")


async def test_the_status_is_told_by_the_relay_and_after_its_end_by_the_spool(
    tmp_path: Path,
) -> None:
    config = tmp_path / "relay.yaml"
    async with Upstream() as upstream:
        config.write_text(configuration(upstream.url, free_port()))
        async with Node(config, ENVIRON) as node:
            assert await deliver(node, "one") == 200
            assert await deliver(node, "two", STRANGER) == 403
            await upstream.has_received(1)
            running = orjson.loads(await output(config, "status", "--format", "json"))
            [row] = running["nodes"]
            assert row["role"] == "all"
            assert running["upstreams"][0]["breaker"] == "closed"
            assert await node.end() == 0
        code, text, errors = await command(config, "status", "--format", "json")
        assert (code, errors.split("; ")[-1]) == (0, "read from the spool\n")
        stopped = orjson.loads(text)
        assert stopped["nodes"] == []
        for told in (running, stopped):
            midtrans = told["endpoints"][0]
            assert (
                midtrans["verdicts_24h"] | {"accepted": 1, "refused": 1}
                == (midtrans["verdicts_24h"])
            )
            assert midtrans["last_delivery_at"] == running["endpoints"][0]["last_delivery_at"]
            assert midtrans["hours"][-1] + midtrans["hours"][-2] == 1
