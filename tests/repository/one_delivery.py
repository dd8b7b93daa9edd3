"""The way of one delivery through the source: which files it enters, from first byte to settled.

python -m tests.repository.one_delivery                    print them, in order
python -m tests.repository.one_delivery --several          likewise, to three upstreams by a route
python -m tests.repository.one_delivery --python PATH      likewise, of another relay
"""

import argparse
import asyncio
import json
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.harness.upstream import Upstream
from tests.harness.wire import read_reply
from tests.repository.published.relay import Commands, Running
from tests.repository.published.senders import ALLOWED, MIDTRANS_KEY, Message

_DRIVER = Path(__file__).with_name("trace_driver.py")

#: What happens beside a delivery, on a timer, does not happen beside each of them.
_TIMES = 3

_CONFIGURATION = """
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0"}}
spool: {{path: relay.db}}
upstreams: {upstreams}
endpoints:
  - name: midtrans
    path: /midtrans
    provider: midtrans
    environment: sandbox
    secrets: [{key}]
    upstream: billing
    allowlist: {{replace: ["{allowed}/32"]}}{routes}
"""


_UPSTREAM = """
  {name}: {{url: "{url}/{name}"}}"""

_ROUTES = """
    routes: [{{when: {{json: /payment_type, is: bank_transfer}}, upstreams: [{names}]}}]
"""

#: Of what a route sends to several; the default is the first.
_UPSTREAMS = ("billing", "ledger", "audit")


@dataclass(frozen=True)
class Walk:
    """What one delivery entered.

    files: in order of the first time, as `ingest/pipeline.py`. moves: how often a call led from
    one file to another, or into one from outside, in all threads together.
    """

    files: tuple[str, ...]
    moves: int

    @property
    def packages(self) -> tuple[str, ...]:
        """What lies directly below relay/, in order of the first time."""
        return tuple(dict.fromkeys(file.partition("/")[0] for file in self.files))


async def walk(python: str, *, several: bool = False) -> Walk:
    """Return the walk of one delivery: the first of a relay that has started and is idle.

    several: a route sends it to three upstreams.

    It is the walk with the fewest moves of several relays, of the files that were entered in all
    of them: what a timer did meanwhile, or a thread that was late, is no part of it.
    """
    taken = [await _once(python, several=several) for _ in range(_TIMES)]
    common = set.intersection(*(set(each.files) for each in taken))
    least = min(taken, key=lambda each: each.moves)
    return Walk(tuple(file for file in least.files if file in common), least.moves)


async def _once(python: str, *, several: bool) -> Walk:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with Upstream() as upstream:
            config = directory / "relay.yaml"
            names = _UPSTREAMS if several else _UPSTREAMS[:1]
            config.write_text(_configuration(upstream.url, names))
            message = await _message(python, directory, upstream)
            trace = directory / "trace.json"
            async with Running(python, config, (str(_DRIVER), str(trace))) as running:
                # The spool has been looked over then, and nothing else runs that a start begins.
                await running.has_said("spool_sound")
                running.tell(signal.SIGUSR1)
                # Kept open until the end: closing a connection is no part of a delivery.
                reader, writer = await asyncio.open_connection(*running.public[0])
                writer.write(message.raw)
                assert (await read_reply(reader)).body == b"OK"
                await _delivered(directory / "relay.db", len(names))
                running.tell(signal.SIGUSR2)
                await _there(trace)
                writer.close()
                await running.stop()
            calls = [(thread, file) for thread, file in json.loads(trace.read_text())]
    return Walk(tuple(dict.fromkeys(file for _, file in calls)), len(calls))


def _configuration(url: str, names: Sequence[str]) -> str:
    upstreams = "".join(_UPSTREAM.format(name=name, url=url) for name in names)
    routes = _ROUTES.format(names=", ".join(names)) if len(names) > 1 else ""
    return _CONFIGURATION.format(
        upstreams=upstreams, key=MIDTRANS_KEY, allowed=ALLOWED, routes=routes
    )


async def _message(python: str, directory: Path, upstream: Upstream) -> Message:
    words = ("send", "midtrans", "--to", f"{upstream.url}/midtrans", "--secret", MIDTRANS_KEY)
    async with Commands(python, directory, {}) as commands:
        done = await commands.run(*words, "--from", ALLOWED)
    assert done.code == 0, done
    sent = upstream.received.pop()
    return Message(sent.method, sent.target, tuple(sent.headers), sent.body)


async def _delivered(spool: Path, times: int) -> None:
    """Return when the event is settled everywhere; nobody is asked who would do more for it."""
    with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as reading:
        async with asyncio.timeout(20):
            asked = "SELECT status FROM history"
            while reading.execute(asked).fetchall() != [("delivered",)] * times:  # noqa: ASYNC110
                # Another process writes it.
                await asyncio.sleep(0)


async def _there(file: Path) -> None:
    async with asyncio.timeout(20):
        while not file.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter of another relay")
    parser.add_argument("--several", action="store_true", help="by a route to three upstreams")
    given = parser.parse_args()
    found = asyncio.run(walk(given.python, several=given.several))
    for number, file in enumerate(found.files, 1):
        sys.stdout.write(f"{number:3} {file}\n")
    counts = f"{len(found.files)} files, {len(found.packages)} packages, {found.moves} moves"
    sys.stdout.write(f"{counts}: {', '.join(found.packages)}\n")


if __name__ == "__main__":
    main()
