"""`python -m tests.bench neighbours`: what a dead and a slow upstream do to the one beside them.

Every relay gets the same events at the same even pace and sends each to a good upstream. Some send
each to two more as well, which are as good, or dead and slow. What counts is how long the good one
waits: from the first byte of a notification until it arrives there.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Final

from tests.bench import messages
from tests.bench.machine import LOAD_CORE, description, pinned
from tests.bench.messages import Stock
from tests.bench.node import Node
from tests.bench.output import progress, show, show_table
from tests.bench.processes import Program, free_port
from tests.bench.report import Ratio
from tests.bench.waits import PREFERRED
from tests.harness.clock import wait_until

#: Seconds that a slow upstream takes over each request.
SLOW: Final = 2.0

#: What p99 may be of that of the good upstream alone.
BOUND: Final = 1.5

_CONNECTIONS: Final = 16
_SETTLING, _PATIENCE = 1.0, 5.0

# ---- the upstreams --------------------------------------------------------------------------

_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_FAULT: Final = b"HTTP/1.1 500 Oh\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Receiver:
    """An upstream that notes when each event came, and answers so late; never, if that is None."""

    def __init__(self, mark: int, after: float | None = 0.0, said: bytes = _OK) -> None:
        """mark: where in a body its number stands."""
        self._said = said
        self.came: dict[int, float] = {}
        self._mark = mark
        self._after = after
        self._handlers: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serve on loopback; yield the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        loop = asyncio.get_running_loop()
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(head)
                assert found is not None
                body = await reader.readexactly(int(found[1]))
                self.came.setdefault(int(body[self._mark : self._mark + 12]), loop.time())
                if self._after is None:
                    await asyncio.Event().wait()
                elif self._after:
                    await asyncio.sleep(self._after)
                writer.write(self._said)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._handlers.discard(task)
            writer.close()


# ---- the relays -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """One relay, and what stands beside its good upstream."""

    title: str
    beside: tuple[str, ...] = ()


ALONE: Final = Setting("alone")
SETTINGS: Final = (
    ALONE,
    Setting("its twin, the control"),
    Setting("beside two good ones", ("good", "good")),
    Setting("beside one that refuses and a slow one", ("refuses", "slow")),
    Setting("beside one that answers 500 and a slow one", ("fails", "slow")),
    Setting("beside one that hangs and a slow one", ("hangs", "slow")),
)


def _write(name: str, directory: Path, ports: Sequence[int]) -> Node:
    home = directory / name
    home.mkdir()
    node = Node(name, home / "relay.yaml", free_port(), free_port())
    names = [f"to-{number}" for number in range(len(ports))]
    upstreams = "\n".join(
        f'  {name}: {{url: "http://127.0.0.1:{port}/hooks"}}'
        for name, port in zip(names, ports, strict=True)
    )
    node.config.write_text(f"""\
listen: [{{bind: "127.0.0.1:{node.port}"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:{node.admin_port}"}}
spool: {{path: relay.db}}
shutdown_grace: 100ms
upstreams:
{upstreams}
endpoints:
  - name: midtrans
    path: {messages.PATH}
    provider: midtrans
    environment: production
    secrets: ["{messages.MIDTRANS_KEY}"]
    upstreams: [{", ".join(names)}]
""")
    return node


# ---- the load -------------------------------------------------------------------------------


class Sender:
    """Sends the requests of a stock at an even pace, whatever becomes of them."""

    def __init__(self, stock: Stock) -> None:
        self._all = stock.path.read_bytes()
        self._stock = stock
        self._number = 0

    def _next(self) -> tuple[int, bytes]:
        assert self._stock.mark is not None
        start = self._number % self._stock.count * self._stock.length
        raw = bytearray(self._all[start : start + self._stock.length])
        mark = self._stock.mark
        raw[mark : mark + 12] = b"%012d" % self._number
        self._number += 1
        return self._number - 1, bytes(raw)

    async def run(self, port: int, rate: float, seconds: float) -> dict[int, float]:
        """Return when each event was sent, by its number.

        Raises:
            RuntimeError: one was not acknowledged.
        """
        loop, sent = asyncio.get_running_loop(), dict[int, float]()
        free = asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]()
        for _ in range(_CONNECTIONS):
            free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
        start = loop.time()

        async def send() -> None:
            reader, writer = await free.get()
            number, raw = self._next()
            sent[number] = loop.time()
            writer.write(raw)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"not acknowledged: {head!r}")
            found = _LENGTH.search(head)
            await reader.readexactly(int(found[1]) if found else 0)
            free.put_nowait((reader, writer))

        async with asyncio.TaskGroup() as group:
            for turn in range(round(rate * seconds)):
                await asyncio.sleep(start + turn / rate - loop.time())
                group.create_task(send())
        while not free.empty():
            free.get_nowait()[1].close()
        return sent


def percentile(values: Sequence[float], number: int) -> float:
    """Return the value that so many of a hundred do not exceed."""
    return quantiles(values, n=100, method="inclusive")[number - 1]


@dataclass(slots=True)
class Seen:
    """What the good upstream of one relay has seen: the delays of each round, in seconds."""

    title: str
    rounds: list[list[float]] = field(default_factory=list)
    missing: int = 0

    def percentiles(self, number: int) -> list[float]:
        """Return this percentile of each round."""
        return [percentile(delays, number) for delays in self.rounds]

    def against(self, other: "Seen") -> Ratio:
        """Compare the 99th percentile, round by round."""
        pairs = zip(self.percentiles(99), other.percentiles(99), strict=True)
        found = [one / another for one, another in pairs]
        return Ratio(median(found), min(found), max(found))


def measure_neighbours(rounds: int, seconds: int, rate: int, directory: Path) -> None:
    """Run everything and print the table. directory: for spools, on a disk, and empty."""
    stock = messages.midtrans(directory)
    with pinned(LOAD_CORE):
        seen = asyncio.run(_measure(stock, rounds, seconds, rate, directory))
    show(f"{description(directory)}.")
    show(f"{rate} events a second, {rounds} rounds, slices of {seconds} s. Times in milliseconds.")
    head = ["the good upstream", "p50", "p90", "p99", "p99 of alone", f"at most {BOUND:g}"]
    show_table(head, [_row(each, seen[ALONE.title]) for each in seen.values()])
    if missing := sum(each.missing for each in seen.values()):
        raise RuntimeError(f"{missing} events did not arrive in time")


def _row(seen: Seen, alone: Seen) -> list[str]:
    ratio = seen.against(alone)
    return [
        seen.title,
        *(f"{1000 * median(seen.percentiles(number)):.2f}" for number in (50, 90, 99)),
        str(ratio),
        "ok" if ratio.median <= BOUND else "MISSED",
    ]


async def _measure(
    stock: Stock, rounds: int, seconds: int, rate: int, directory: Path
) -> dict[str, Seen]:
    assert stock.mark is not None
    mark = stock.mark - stock.path.read_bytes().index(b"\r\n\r\n") - 4
    dice, sender = Random(3), Sender(stock)
    good = Receiver(mark)
    async with AsyncExitStack() as stack:
        others = {
            "good": Receiver(mark),
            "slow": Receiver(mark, after=SLOW),
            "fails": Receiver(mark, said=_FAULT),
            "hangs": Receiver(mark, after=None),
        }
        ports = {
            name: await stack.enter_async_context(each.serving()) for name, each in others.items()
        }
        ports["refuses"] = free_port()
        port = await stack.enter_async_context(good.serving())
        seen = {each.title: Seen(each.title) for each in SETTINGS}
        # The first round warms up.
        for turn in range(rounds + 1):
            for each in dice.sample(SETTINGS, len(SETTINGS)):
                beside = [ports[name] for name in each.beside]
                node = _write(f"{turn}-{SETTINGS.index(each)}", directory, [port, *beside])
                with node.program(PREFERRED) as program:
                    delays, missing = await _slice(program, sender, good, rate, seconds)
                progress(f"round {turn}, {each.title}: p99 {1000 * percentile(delays, 99):.2f} ms")
                if turn:
                    seen[each.title].rounds.append(delays)
                    seen[each.title].missing += missing
    return seen


async def _slice(
    program: Program, sender: Sender, good: Receiver, rate: int, seconds: int
) -> tuple[list[float], int]:
    """Send to one relay; return the delays, and how many events are missing."""
    await asyncio.sleep(_SETTLING)
    sent = await sender.run(program.port, rate, seconds)
    await wait_until(lambda: sent.keys() <= good.came.keys(), _PATIENCE)
    delays = [good.came[number] - at for number, at in sent.items() if number in good.came]
    return delays, len(sent) - len(delays)
