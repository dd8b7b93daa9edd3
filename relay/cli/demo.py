"""`relay demo`: see the whole main job, with no configuration."""

import asyncio
import io
import signal
import sys
from typing import Annotated

import typer

from relay import demo as harness
from relay.cli.output import print_table
from relay.clock import SystemClock
from relay.logs import Log, LogWriter


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Exit when done: 0 when all went as it should, else 1.")
    ] = False,
) -> None:
    """Run a relay, a sender and a receiver on this machine, and show what becomes of messages."""
    # The log of the demo is its table.
    writer = LogWriter(io.BytesIO())
    went_well = asyncio.run(_play(Log(writer, SystemClock()), stay=not once))
    writer.close()
    sys.exit(0 if went_well else 1)


async def _play(log: Log, *, stay: bool) -> bool:
    async with harness.running(log) as running:
        print_table(
            ("provider", "sent", "from", "answered", "arrived upstream", ""),
            [
                (
                    row.provider,
                    row.sent,
                    row.client,
                    row.status,
                    _times(row.arrived),
                    "ok" if row.went_well else f"expected {row.expected[0]}",
                )
                for row in running.rows
            ],
        )
        if stay:
            sys.stdout.write(
                f"\nStill running, on {running.public_url}."
                f"\nEvents page: {running.admin_url}  token: {running.token}"
                "\nStop with Ctrl-C; the spool is deleted then.\n"
            )
            sys.stdout.flush()
            await _interrupted()
        return running.went_well


def _times(number: int) -> str:
    return {0: "no", 1: "once"}.get(number, f"{number} times")


async def _interrupted() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
