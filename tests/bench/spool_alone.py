"""`python -m tests.bench spool`: storing, handing over and settling, without any HTTP."""

import asyncio
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final

from relay.core.clock import SystemClock
from relay.core.errors import SpoolUnavailable
from relay.core.event import Delivered, Done, Lease
from relay.core.ids import event_ids
from relay.core.request import VerifiedDelivery
from relay.spool import PutResult, Seats, Settlement, Stored
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.spool.sqlite.writer import Batch
from tests.bench import messages
from tests.bench.lanes import REFERENCE, SERVERS, Site
from tests.bench.load import Generator
from tests.bench.machine import SERVER_CORE, description, pinned
from tests.bench.output import progress, show, show_table
from tests.bench.processes import Program
from tests.harness.deliveries import verified

_PADDING: Final = "x" * 1300
_WARM_UP: Final = 1000
_EVENTS: Final = {64: 6000, 1: 600}
_SECONDS: Final = 2
_LEASE: Final = timedelta(minutes=1)
_numbers: Iterator[int] = count()


@dataclass(frozen=True, slots=True)
class Slice:
    """What so many events have cost: CPU seconds, transactions, bytes and calls of writing."""

    events: int
    cpu: float
    transactions: int
    written: int
    calls: int


class Upstream:
    """Takes every event that is handed over, and settles those of one iteration together."""

    def __init__(self, spool: SqliteSpool) -> None:
        self.settled = 0
        self.seats = Seats(_LEASE)
        self.seats.free = 1_000_000
        self._spool = spool
        self._leases: list[Lease] = []

    def cancelled(self) -> None:
        """There is always a seat."""

    def offer(self, lease: Lease) -> bool:
        """Let it be delivered at once."""
        if not self._leases:
            asyncio.get_running_loop().call_soon(self._settle)
        self._leases.append(lease)
        return True

    def _settle(self) -> None:
        leases, self._leases = self._leases, []
        done, outcome = Done(), Delivered(200)
        self._spool.settle_all([Settlement(each, done, outcome) for each in leases], self._told)

    def _told(self, recorded: Sequence[bool] | SpoolUnavailable) -> None:
        assert not isinstance(recorded, SpoolUnavailable), recorded
        assert all(recorded)
        self.settled += len(recorded)


class Senders:
    """Puts events, so many at once, each as soon as one before it has been answered."""

    def __init__(self, spool: SqliteSpool, events: Sequence[VerifiedDelivery]) -> None:
        self._spool = spool
        self._left = iter(events)
        self._missing = len(events)
        self._done = asyncio.Event()

    async def send(self, at_once: int) -> None:
        """Return when every event has been answered."""
        for _ in range(at_once):
            self._put()
        await self._done.wait()

    def _put(self) -> None:
        event = next(self._left, None)
        if event is not None:
            self._spool.put_nowait(event, self._answered)

    def _answered(self, answer: PutResult | SpoolUnavailable) -> None:
        assert isinstance(answer, Stored), answer
        self._missing -= 1
        self._put()
        if not self._missing:
            self._done.set()


async def measure(path: Path, at_once: int, events: int) -> Slice:
    """Store and settle so many events in a new spool; say what it has cost."""
    spool = await open_spool(path, SystemClock())
    try:
        await spool.reserve_space()
        upstream = Upstream(spool)
        spool.subscribe("billing", upstream)
        await _run(spool, upstream, at_once, _made(_WARM_UP if at_once > 1 else 50))
        made, transactions = _made(events), _counted(spool)
        written, calls = _written()
        used = time.process_time()
        await _run(spool, upstream, at_once, made)
        used = time.process_time() - used
        now_written, now_calls = _written()
        return Slice(events, used, len(transactions), now_written - written, now_calls - calls)
    finally:
        await spool.close()


async def _run(
    spool: SqliteSpool, upstream: Upstream, at_once: int, events: Sequence[VerifiedDelivery]
) -> None:
    wanted = upstream.settled + len(events)
    await Senders(spool, events).send(at_once)
    while upstream.settled < wanted:  # noqa: ASYNC110 - a look now and then costs least
        await asyncio.sleep(0.001)


def _counted(spool: SqliteSpool) -> list[int]:
    """Return a list that grows by the number of new events in each transaction from now on."""
    transactions: list[int] = []
    writer = spool._writer
    transact = writer._transact

    def counting(batch: Batch) -> None:
        transactions.append(len(batch.new))
        transact(batch)

    writer._transact = counting  # type: ignore[method-assign]
    return transactions


def _made(number: int) -> list[VerifiedDelivery]:
    new_id, clock = event_ids(), SystemClock()
    made = []
    for _ in range(number):
        name, now = f"alone-{next(_numbers):012d}", clock.now()
        body = f'{{"order_id": "{name}", "padding": "{_PADDING}"}}'.encode()
        made.append(
            verified(key=name, subject=name, body=body, received_at=now, event_id=new_id(now))
        )
    return made


def _written() -> tuple[int, int]:
    """Return the bytes that this process has written, and in how many calls."""
    lines = Path("/proc/self/io").read_text().splitlines()
    fields = {name: int(value) for name, _, value in (line.partition(":") for line in lines)}
    return fields["wchar"], fields["syscw"]


def measure_spool(rounds: int, directory: Path) -> None:
    """Print a row for each number of events at once, beside a bare server in the same rounds."""
    stock = messages.midtrans(directory)
    site = Site(directory, 9, None)
    slices: dict[int, list[Slice]] = {at_once: [] for at_once in _EVENTS}
    bare: list[float] = []
    with SERVERS[REFERENCE](REFERENCE, site) as server:
        generator = Generator(stock, server.port)
        for turn in range(1, rounds + 1):
            bare.append(_bare(server, generator))
            for at_once, events in _EVENTS.items():
                place = directory / "alone"
                place.mkdir()
                with pinned(SERVER_CORE):
                    slices[at_once].append(
                        asyncio.run(measure(place / "relay.db", at_once, events))
                    )
                shutil.rmtree(place)
            progress(f"round {turn}/{rounds}")
    show(f"{description(directory)}.")
    show(f"{rounds} rounds; CPU of a request to the bare server {median(bare) * 1e6:.0f} us.")
    show_table(
        ["events at once", "CPU us", "of bare", "transactions", "written kB", "write calls"],
        [row(at_once, found, bare) for at_once, found in slices.items()],
    )
    _show_targets(slices[max(_EVENTS)], bare)


#: What the spool alone is meant to reach with the most events at once: the most of each.
_TARGETS: Final = {"CPU of bare": 0.95, "transactions": 0.03, "written kB": 11.0}


def _show_targets(slices: Sequence[Slice], bare: Sequence[float]) -> None:
    found = {
        "CPU of bare": median(
            each.cpu / each.events / one for each, one in zip(slices, bare, strict=True)
        ),
        "transactions": median(each.transactions / each.events for each in slices),
        "written kB": median(each.written / each.events for each in slices) / 1000,
    }
    show_table(
        [f"an event, {max(_EVENTS)} at once", "wanted", "median", ""],
        [
            [what, f"at most {most:g}", f"{found[what]:.3f}", _verdict(found[what] <= most)]
            for what, most in _TARGETS.items()
        ],
    )


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def row(at_once: int, slices: Sequence[Slice], bare: Sequence[float]) -> list[str]:
    """Return a row of the table: medians of an event, and the range of the ratios by round."""
    ratios = [each.cpu / each.events / one for each, one in zip(slices, bare, strict=True)]

    def middle(of: Sequence[float]) -> float:
        return median(value / each.events for value, each in zip(of, slices, strict=True))

    return [
        str(at_once),
        f"{middle([each.cpu for each in slices]) * 1e6:.0f}",
        f"{median(ratios):.2f} [{min(ratios):.2f} to {max(ratios):.2f}]",
        f"{middle([each.transactions for each in slices]):.3f}",
        f"{middle([each.written for each in slices]) / 1000:.1f}",
        f"{middle([each.calls for each in slices]):.1f}",
    ]


def _bare(server: Program, generator: Generator) -> float:
    """Return the CPU seconds of a request to the bare server."""
    server.settle()
    used = server.cpu()
    load = generator.run(64, _SECONDS)
    server.settle()
    return (server.cpu() - used) / max(1, load.answered)
