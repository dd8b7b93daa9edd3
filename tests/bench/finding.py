"""`python -m tests.bench find`: pages and searches of a large spool while deliveries go on."""

import asyncio
import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import apsw
import orjson

from relay.core.clock import SystemClock
from relay.core.ids import event_ids
from relay.spool.history import FILLING
from relay.spool.sqlite import database, events, intake, references
from relay.spool.sqlite.events import Tables, Tally, open_tables
from relay.spool.sqlite.intake import NewEvent
from tests.bench import messages
from tests.bench.backlog import await_ready, counting_upstream
from tests.bench.machine import LOAD_CORE, description, pinned
from tests.bench.messages import Stock
from tests.bench.node import write_node
from tests.bench.output import progress, show, show_table
from tests.bench.processes import free_port
from tests.bench.waits import PREFERRED
from tests.harness.deliveries import verified

#: What nothing may take longer than, in milliseconds, and by what the p99 may grow.
BOUND: Final = 250.0
_GROWTH: Final = 1.5

_A_SECOND: Final = 500
_CONNECTIONS: Final = 8
_ROUNDS: Final = 5
_SECONDS: Final = 6
_PAUSE: Final = 0.05
_BATCH: Final = 2000
_TIMEOUT: Final = timedelta(seconds=5)
#: One in so many is dead; one in so many came to another endpoint.
_DEAD: Final = 1000
_RARE: Final = 997

_TOKEN: Final = "token-of-the-bench-0123456789"
_PADDING: Final = "x" * 1300

_EVENTS: Final = "/api/v1/events?limit=50&"

#: Names and queries. Every order begins alike; the number of one is put in.
SEARCHES: Final = (
    ("page of 50", ""),
    ("page of 50, a later one", "after={after}"),
    ("reference, whole", "find=ORDER-{number:08}"),
    ("reference, its beginning, 100 of them", "find=ORDER-{hundred:06}"),
    ("reference, what all begin with", "find=ORDER"),
    ("event id, whole", "find={id}"),
    ("nothing of this name", "find=ORDER-x"),
    ("what all begin with, dead", "find=ORDER&status=dead"),
    ("what all begin with, a rare endpoint", "find=ORDER&endpoint=rare"),
    ("what all begin with, long ago", "find=ORDER&until=3h"),
    ("status dead", "status=dead"),
    ("status delivered", "status=delivered"),
    ("an endpoint", "endpoint=midtrans"),
    ("an upstream", "upstream=billing"),
)

#: Names and paths: what is asked of the admin listener.
QUERIES: Final = (
    *((name, _EVENTS + query) for name, query in SEARCHES),
    ("the status", "/api/v1/status"),
    ("the overview, as a page", "/"),
    ("events, as a page", "/events"),
    ("events found, as a page", "/events?find=ORDER-{hundred:06}"),
)


# ---- the spool ------------------------------------------------------------------------------

_SETTLE: Final = "INSERT INTO settled VALUES (?,?,?,?,1,0,900,?,NULL)"
_FINISHED: Final = "DELETE FROM queue WHERE seq > ?"


def fill(path: Path, number: int) -> str:
    """Put so many events that are delivered, or dead, into a new spool; return the id of one.

    By the spool's own statements, without a sync. What one of `references.FILLING` holds is in the
    index then, as it is in a relay that has received them.
    """
    database.prepare(path, _TIMEOUT)
    connection = database.open_writing(path, _TIMEOUT)
    connection.pragma("synchronous", 0)
    shared, new_id, began = open_tables(connection), event_ids(), SystemClock().now()
    chosen = ""
    for at in range(0, number, _BATCH):
        made = []
        for each in range(at, min(at + _BATCH, number)):
            age = timedelta(days=1) * (number - each) / number
            event = verified(
                key=f"key-{each}",
                body=f'{{"order_id": "ORDER-{each:08}", "padding": "{_PADDING}"}}'.encode(),
                endpoint="rare" if each % _RARE == 0 else "midtrans",
                references=(("order_id", f"ORDER-{each:08}"), ("transaction_id", f"{each:032x}")),
                received_at=began - age,
                event_id=new_id(began - age),
            )
            chosen = event.event_id if each == number // 3 else chosen
            made.append(NewEvent(event, shared.digests, events.micros(began - age), _ignore))
        _store(connection, shared, made)
        if at % (50 * _BATCH) == 0:
            progress(f"{at} of {number} events are in the spool")
    _index(connection)
    connection.close()
    return chosen


def _ignore(_: object) -> None:
    """Take an answer that nobody waits for."""


def _store(connection: apsw.Connection, shared: Tables, made: list[NewEvent]) -> None:
    tally = Tally()
    with connection:
        shared.names.refresh(connection)
        intake.store(connection, shared, made, tally)
        upstream = shared.names.number(connection, "billing")
        connection.execute(_FINISHED, (made[0].seq - 1,))
        rows = []
        for each in made:
            dead = each.seq % _DEAD == 0
            state, outcome = (events.DEAD, "rejected 500") if dead else (1, "delivered 200")
            rows.append((each.seq, upstream, state, each.received_at, outcome))
            tally.move(each.endpoint, events.PENDING, state)
        connection.executemany(_SETTLE, rows)
        tally.write(connection)


def _index(connection: apsw.Connection) -> None:
    while (found := references.due(connection, FILLING)) is not None:
        begun, seq, part = found
        references.begin(connection, begun, seq)
        rows = references.read(connection, seq, part)
        references.add(connection, begun + 1, seq, part, rows)
        references.add(connection, begun + 1, seq, part, None)


# ---- deliveries -----------------------------------------------------------------------------


class Deliveries:
    """Sends so many a second over a few connections; says how long each answer took."""

    def __init__(self, stock: Stock, port: int) -> None:
        raw = stock.path.read_bytes()
        self._requests = [raw[at : at + stock.length] for at in range(0, len(raw), stock.length)]
        self._mark = stock.mark or 0
        self._port = port
        self._sent = 0

    async def during(self, seconds: float) -> list[float]:
        """Return the milliseconds of each, from when it was due."""
        took: list[float] = []
        begun = time.perf_counter()
        number = int(seconds * _A_SECOND)
        due = iter([begun + each / _A_SECOND for each in range(number)])
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(self._connection(due, took))
        return took

    async def _connection(self, due: Iterator[float], took: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for at in due:
            await asyncio.sleep(at - time.perf_counter())
            writer.write(self._next())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"a delivery was answered {head!r}")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            took.append(1000 * (time.perf_counter() - at))
        writer.close()

    def _next(self) -> bytes:
        self._sent += 1
        raw = self._requests[self._sent % len(self._requests)]
        end = self._mark + 12
        return raw[: self._mark] + b"%012d" % self._sent + raw[end:]


# ---- searches -------------------------------------------------------------------------------


@dataclass(slots=True)
class Asked:
    """How long each search took, in milliseconds, and how many events it found."""

    took: dict[str, list[float]] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)

    def row(self, name: str) -> list[str]:
        took = self.took[name]
        met = "met" if max(took) < BOUND else "MISSED"
        cells = [f"{each:.1f}" for each in (median(took), max(took))]
        return [name, self.found.get(name, ""), *cells, met]


def ask(port: int, queries: list[tuple[str, str]], asked: Asked, until: float) -> None:
    """Ask one after the other until this time of `perf_counter`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while time.perf_counter() < until:
        for name, path in queries:
            begun = time.perf_counter()
            connection.request("GET", path, headers={"Authorization": f"Bearer {_TOKEN}"})
            response = connection.getresponse()
            body = response.read()
            if response.status != http.client.OK:
                raise RuntimeError(f"{path} was answered {response.status}: {body!r}")
            asked.took.setdefault(name, []).append(1000 * (time.perf_counter() - begun))
            if path.startswith(_EVENTS):
                asked.found[name] = str(len(orjson.loads(body)["events"]))
            time.sleep(_PAUSE)
    connection.close()


# ---- all of it ------------------------------------------------------------------------------


async def _slice(deliveries: Deliveries, act: Callable[[float], None] | None) -> float:
    """Return the p99 of the deliveries of one slice, with something done beside them."""
    until = time.perf_counter() + _SECONDS
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(deliveries.during(_SECONDS))
        if act is not None:
            await asyncio.to_thread(act, until)
    return quantiles(sending.result(), n=100)[98]


def measure_find(number: int, directory: Path) -> None:
    """Fill, start, and search at 500 deliveries a second and without searching, in turn."""
    upstream = free_port()
    node = write_node("find", directory, mode="store", upstream=upstream, snap_key=None)
    text = node.config.read_text().replace("admin: {", f'admin: {{token: "{_TOKEN}", ')
    node.config.write_text(text)
    event_id = fill(node.config.parent / "relay.db", number)
    values = {"number": number // 3, "hundred": number // 300, "id": event_id}
    middle = SystemClock().now() - timedelta(hours=12)
    values["after"] = f"{events.micros(middle)}-{number // 2}"
    queries = [(name, query.format(**values)) for name, query in QUERIES]
    asked, calm, busy = Asked(), list[float](), list[float]()
    stock = messages.midtrans(directory)
    program = node.program(PREFERRED)
    with counting_upstream(upstream, directory), program, pinned(LOAD_CORE):
        await_ready(node)
        deliveries = Deliveries(stock, node.port)
        asyncio.run(_slice(deliveries, None))
        for turn in range(1, _ROUNDS + 1):
            calm.append(asyncio.run(_slice(deliveries, None)))
            act = partial(ask, node.admin_port, queries, asked)
            busy.append(asyncio.run(_slice(deliveries, act)))
            progress(f"round {turn}/{_ROUNDS}: p99 {calm[-1]:.1f} ms calm, {busy[-1]:.1f} ms busy")
    growth = median(one / other for one, other in zip(busy, calm, strict=True))
    show(f"{description(directory)}.")
    show(f"{number} events in the spool, {_A_SECOND} deliveries a second.")
    head = ["asked", "found", "median, ms", "longest, ms", f"under {BOUND:g}"]
    show_table(head, [asked.row(name) for name, _ in QUERIES])
    show(
        f"p99 of a delivery {median(calm):.1f} ms without searches, {median(busy):.1f} ms beside"
        f" them: {growth:.2f} of it, at most {_GROWTH:g} wanted."
    )
