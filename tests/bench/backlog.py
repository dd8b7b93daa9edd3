"""`python -m tests.bench backlog`: a great many events wait while the upstream is down."""

import asyncio
import http.client
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from statistics import median
from typing import Final

from relay.core.clock import SystemClock
from relay.core.ids import event_ids
from relay.spool.sqlite import SqliteSpool, open_spool
from tests.bench import messages
from tests.bench.load import Generator
from tests.bench.machine import LOAD_CORE, description
from tests.bench.node import CONCURRENCY, Node, write_node
from tests.bench.output import progress, show, show_table
from tests.bench.processes import Program, free_port
from tests.harness.deliveries import verified

_CONNECTIONS: Final = 64
_ROUNDS: Final = 5
_SECONDS: Final = 4
_AT_ONCE: Final = 1000
_PATIENCE: Final = 180.0

_ACCEPTING: Final = 0.5
_CPU: Final = 1.5
_RESIDENT: Final = 256
_START_UP: Final = 5.0
_DRAIN: Final = 2000


@dataclass(frozen=True, slots=True)
class _Slices:
    """What one relay did, round by round: events accepted a second, CPU seconds of each."""

    rates: list[float]
    cpu: list[float]


@dataclass(frozen=True, slots=True)
class _Accepting:
    """Slices with the backlog, and without."""

    full: _Slices
    empty: _Slices
    bad: int


def _ratios(full: list[float], empty: list[float]) -> list[float]:
    return [one / other for one, other in zip(full, empty, strict=True)]


def _share(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} [{min(ratios):.2f} to {max(ratios):.2f}]"


@dataclass(frozen=True, slots=True)
class _Drain:
    """How it went when the upstream came back. first: seconds until the first delivery."""

    first: float
    events: int
    seconds: float
    most_in_hand: int


def measure_backlog(events: int, drain: int, directory: Path) -> None:
    """Fill, start, accept, drain for so many seconds at most, and print the table."""
    upstream = free_port()
    full, empty = (
        write_node(name, directory, mode="store", upstream=upstream, snap_key=None)
        for name in ("full", "empty")
    )
    filling = asyncio.run(_fill(full.config.parent / "relay.db", events))
    begun = time.perf_counter()
    with full.program() as server:
        await_ready(full)
        start_up = time.perf_counter() - begun
        after_start = server.memory("VmRSS")
        progress(f"ready after {start_up:.2f} s")
        accepting = _accept(full, server, empty, directory)
        resident = server.memory("VmRSS")
        waiting = _waiting(full)
        progress(f"{waiting} events wait; the upstream comes back")
        with counting_upstream(upstream, directory):
            drained = _drain(upstream, drain, waiting)
        peak = server.memory()
    full_rates, empty_rates = accepting.full.rates, accepting.empty.rates
    rates = _ratios(full_rates, empty_rates)
    cpu = _ratios(accepting.full.cpu, accepting.empty.cpu)
    rate = drained.events / drained.seconds
    show(f"{description(directory)}.")
    show(f"{waiting} events waited; {events} of them put into the spool at {filling:.0f}/s,")
    show("through its own `put`, the others accepted over HTTP. Upstream down: nothing listens.")
    show(
        f"Accepted without a backlog {median(empty_rates):.0f}/s, with it "
        f"{median(full_rates):.0f}/s ({_ROUNDS} rounds, {_CONNECTIONS} connections, "
        f"{accepting.bad} bad)."
    )
    show(
        f"The first delivery came {drained.first:.1f} s after the upstream, "
        f"then {drained.events} events in {drained.seconds:.1f} s."
    )
    show_table(
        ["", "wanted", "measured", ""],
        [
            [
                "accepting, of the rate without a backlog",
                f"at least {_ACCEPTING:g}",
                _share(rates),
                _verdict(median(rates) >= _ACCEPTING),
            ],
            [
                "CPU of an event, of that without a backlog",
                f"at most {_CPU:g}",
                _share(cpu),
                _verdict(median(cpu) <= _CPU),
            ],
            [
                "resident memory with it, MiB",
                f"at most {_RESIDENT}",
                f"{after_start:.0f} after start, {resident:.0f} accepting, {peak:.0f} at most",
                _verdict(peak <= _RESIDENT),
            ],
            [
                "start-up with it, s",
                f"at most {_START_UP:g}",
                f"{start_up:.2f}",
                _verdict(start_up <= _START_UP),
            ],
            ["drain, events/s", f"at least {_DRAIN}", f"{rate:.0f}", _verdict(rate >= _DRAIN)],
            [
                "requests in hand at the upstream",
                f"at most {CONCURRENCY}",
                str(drained.most_in_hand),
                _verdict(drained.most_in_hand <= CONCURRENCY),
            ],
        ],
    )


async def _fill(path: Path, events: int) -> float:
    """Store so many events of the usual size, many at once; return how many a second."""
    clock = SystemClock()
    spool = await open_spool(path, clock)
    new_id, numbers = event_ids(), iter(range(events))
    padding = "x" * 1300

    async def store(spool: SqliteSpool) -> None:
        for number in numbers:
            body = f'{{"order_id": "{number:012d}", "padding": "{padding}"}}'.encode()
            key, now = f"backlog-{number:012d}", clock.now()
            event = verified(key=key, subject=key, body=body, received_at=now, event_id=new_id(now))
            await spool.put(event)
            if number % 100_000 == 0:
                progress(f"{number} of {events} events stored")

    begun = time.perf_counter()
    try:
        await asyncio.gather(*(store(spool) for _ in range(_AT_ONCE)))
    finally:
        await spool.close()
    return events / (time.perf_counter() - begun)


def _accept(full: Node, server: Program, empty: Node, directory: Path) -> _Accepting:
    """Send to both in turn, one of them resting."""
    stock = messages.midtrans(directory)
    accepting = _Accepting(_Slices([], []), _Slices([], []), 0)
    bad, dice = 0, SystemRandom()
    with empty.program() as other:
        tracks = [
            (server, Generator(stock, full.port), accepting.full),
            (other, Generator(stock, empty.port), accepting.empty),
        ]
        for program, _, _ in tracks:
            program.stop()
        for turn in range(_ROUNDS + 1):
            for program, generator, slices in dice.sample(tracks, len(tracks)):
                program.resume()
                program.settle()
                used = program.cpu()
                load = generator.run(_CONNECTIONS, _SECONDS)
                program.settle()
                used = program.cpu() - used
                program.stop()
                bad += load.bad
                # The first round warms up.
                if turn > 0:
                    slices.rates.append(load.answered / load.seconds)
                    slices.cpu.append(used / load.answered)
                    progress(f"round {turn}/{_ROUNDS}  {program.name:6}{slices.rates[-1]:>8.0f}/s")
        server.resume()
    return _Accepting(accepting.full, accepting.empty, bad)


def counting_upstream(port: int, directory: Path) -> Program:
    """Return the upstream that counts what it has in hand, on the core of the load."""
    argv = [sys.executable, "-m", "tests.bench.counting", str(port)]
    return Program("counting", argv, port=port, core=LOAD_CORE, log=directory / "counting.log")


def _drain(port: int, seconds: int, waiting: int) -> _Drain:
    """Watch the upstream until it has had everything, or for so many seconds."""
    begun = time.perf_counter()
    while not (first := _counts(port)["answered"]):
        if time.perf_counter() - begun > _PATIENCE:
            raise RuntimeError(f"nothing was delivered in {_PATIENCE:g} s")
        time.sleep(0.05)
    started = time.perf_counter()
    said = 0.0
    while True:
        counts, passed = _counts(port), time.perf_counter() - started
        if passed - said >= 10:
            said = passed
            progress(f"{counts['answered']} delivered in {passed:.0f} s")
        if counts["answered"] >= waiting or passed >= seconds:
            break
        time.sleep(0.05)
    return _Drain(started - begun, counts["answered"] - first, passed, counts["most"])


def _counts(port: int) -> dict[str, int]:
    counts: dict[str, int] = json.loads(_get(port, "/count")[1])
    return counts


def _waiting(node: Node) -> int:
    """Return how many events are not delivered yet, as the node's metrics say."""
    text = _get(node.admin_port, "/metrics")[1].decode()
    waiting = re.compile(
        r'^relay_spool_events\{.*status="(?:pending|leased)".*\} (\S+)', re.MULTILINE
    )
    found = waiting.findall(text)
    return int(sum(float(each) for each in found))


def await_ready(node: Node) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            if _get(node.admin_port, "/readyz")[0] == http.client.OK:
                return
        except OSError:
            pass
        time.sleep(0.01)
    raise RuntimeError(f"{node.name} does not become ready")


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"
