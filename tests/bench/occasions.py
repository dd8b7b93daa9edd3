"""What might hold up the event loop: each is done, and looked at beside calm."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.backlog import counting_upstream
from tests.bench.crowd import (
    ENDPOINTS,
    UPSTREAMS,
    SnapSigner,
    filled_series,
    large_midtrans,
    snap_signer,
    write_crowd,
    write_history,
)
from tests.bench.kept_spools import fill
from tests.bench.naming import Naming
from tests.bench.node import Node, write_node
from tests.bench.output import progress
from tests.bench.processes import Program, free_port
from tests.bench.waits import PREFERRED, Action, Memory, Run
from tests.bench.wires import Wire
from tests.harness.nameserver import floods, gives
from tests.harness.wire import request

_SERIES: Final = 200
_WAITING: Final = 100_000
# Rounds of housekeeping: so many that they take longer than the slice that looks at them.
_STEPS_A_SECOND: Final = 6
_STEP: Final = 200
_SCRAPES: Final = 10
_SNAP: Final = 20
# A second, of 100 kB: more than fills the log in two.
_LARGE: Final = 140
#: As many as are believed, and as many as one message has room for.
_ANSWERS: Final = (64, 4000)
_FEW: Final = gives("103.208.23.6")
_METRICS: Final = request("GET", "/metrics")
_LINE: Final = b"\nrelay_"


# ---- a relay with many endpoints ----------------------------------------------------------------


def crowded(run: Run, directory: Path, only: str) -> Iterator[Action | Memory]:
    """Look at a relay with many endpoints and upstreams: at scrapes, large bodies, DNS."""
    signer, upstream = snap_signer(directory), free_port()
    with counting_upstream(upstream, directory), Naming() as naming:
        naming.answer(_FEW)
        node = write_crowd(directory, upstream=upstream, signer=signer, nameserver=naming.port)
        with node.program(PREFERRED) as program:
            program.settle()
            started = program.memory("VmRSS")
            write_history(node.port)
            program.settle()
            crowd = _Crowd(run, node, program, signer, naming)
            found = [part() for name, part in crowd.parts().items() if only in name]
            yield from found
            name = f"{ENDPOINTS} endpoints, {UPSTREAMS} upstreams"
            if found:
                yield Memory(name, started, program.memory())


@dataclass(frozen=True, slots=True)
class _Crowd:
    """What is done to that relay."""

    run: Run
    node: Node
    program: Program
    signer: SnapSigner
    naming: Naming

    def parts(self) -> dict[str, Callable[[], Action]]:
        """Return what can be done, by name."""
        snap, checkpoints = "SNAP bodies of 100 kB, RSA, minified", "checkpoints of the spool's log"
        parts: dict[str, Callable[[], Action]] = {
            "scrapes of many series": partial(self._scraped, "scrapes of many series"),
            snap: partial(self._sent, snap),
            checkpoints: partial(self._checkpointed, checkpoints),
        }
        for many in _ANSWERS:
            name = f"DNS answers of {many} addresses"
            parts[name] = partial(self._named, name, many)
        return parts

    def _scraped(self, name: str) -> Action:
        with Wire(self.node.admin_port) as admin:
            exposed = admin.ask(_METRICS).body
        filled = filled_series(exposed)
        if filled < _SERIES:
            raise RuntimeError(f"only {filled} series have a history")
        action, took = Action(name), list[float]()
        self.run.alternate(action, self.program, lambda: _scrapes(self.run, self.node, took))
        action.note = (
            f"{filled} with a history among {exposed.count(_LINE)} lines; "
            f"{len(took)} scrapes, each {median(took) * 1000:.0f} ms"
        )
        return action

    def _sent(self, name: str) -> Action:
        action, took, size = Action(name), list[float](), 0
        for turn in range(1, self.run.rounds + 1):
            calm = self.run.calm(self.program)
            stock = [self.signer.large(turn * 10_000 + k) for k in range(_SNAP * self.run.seconds)]
            size = len(stock[0])
            posts = partial(_posts, self.run, _SNAP, self.node, stock, took)
            self.run.note(action, turn, calm, *self.run.slice(self.program, posts))
        action.note = f"{len(took)} of {size} bytes, each {median(took) * 1000:.1f} ms"
        return action

    def _checkpointed(self, name: str) -> Action:
        action, took, grown = Action(name), list[float](), list[float]()
        database = self.node.config.parent / "relay.db"
        for turn in range(1, self.run.rounds + 1):
            calm = self.run.calm(self.program)
            stock = [large_midtrans(turn * 10_000 + k) for k in range(_LARGE * self.run.seconds)]
            posts = partial(_posts, self.run, _LARGE, self.node, stock, took)
            before = database.stat()
            seen = self.run.slice(self.program, posts)
            after = database.stat()
            # With a write-ahead log nothing but a checkpoint writes this file.
            if after.st_mtime_ns == before.st_mtime_ns:
                raise RuntimeError("there was no checkpoint")
            grown.append((after.st_size - before.st_size) / 2**20)
            self.run.note(action, turn, calm, *seen)
        action.note = (
            f"{len(took)} events of 100 kB, each {median(took) * 1000:.1f} ms; "
            f"the database grew by {median(grown):.0f} MiB a slice"
        )
        return action

    def _named(self, name: str, many: int) -> Action:
        action, asked = Action(name), 0
        for turn in range(1, self.run.rounds + 1):
            self.naming.answer(_FEW)
            calm = self.run.calm(self.program)
            before = self.naming.asked()
            self.naming.answer(floods(many, "103.208.0.1"))
            seen = self.run.slice(self.program, self.run.rest)
            asked += self.naming.asked() - before
            self.run.note(action, turn, calm, *seen)
        self.naming.answer(_FEW)
        action.note = f"{asked} questions over UDP and TCP"
        return action


# ---- housekeeping -------------------------------------------------------------------------------


def pruning(run: Run, directory: Path, only: str) -> Iterator[Action | Memory]:
    """Look at a relay that removes what has been kept long enough, and at the same one after."""
    action = Action("prunes of bodies and of whole records")
    if only not in action.name:
        return
    node = write_node("pruning", directory, mode="store", upstream=free_port(), snap_key=None)
    text = node.config.read_text()
    node.config.write_text(
        text.replace("{path: relay.db}", "{path: relay.db, retain: 1h, retain_keys: 8d}")
    )
    many = _STEP * _STEPS_A_SECOND * (run.seconds + 1)
    removed, started, peak = list[int](), 0.0, 0.0
    for turn in range(1, run.rounds + 1):
        fill(
            node.config.parent / "relay.db",
            settled=((many, timedelta(days=2)), (many, timedelta(days=40))),
        )
        with node.program(PREFERRED) as server:
            # What a start costs is looked at by itself.
            time.sleep(1)
            started = server.memory("VmRSS")
            before = _events(node, "delivered")
            seen = run.slice(server, run.rest)
            removed.append(before - _events(node, "delivered"))
            if removed[-1] < _STEP:
                raise RuntimeError(f"only {removed[-1]} records were removed")
            calm = run.calm(server)
            run.note(action, turn, calm, *seen)
            peak = server.memory()
    action.note = f"{median(removed):.0f} records and as many bodies removed a slice"
    yield action
    yield Memory("housekeeping", started, peak)


# ---- starts -------------------------------------------------------------------------------------


def starting(run: Run, directory: Path, only: str) -> Iterator[Action | Memory]:
    """Look at relays that start, and at one with a backlog that is scraped."""
    names = (
        "all starts with an empty spool",
        f"the edge starts with {_WAITING} events, inspects",
        f"all starts with {_WAITING} events to deliver",
        f"scrapes with {_WAITING} events waiting",
    )
    if not any(only in name for name in names):
        return
    # Nothing listens at the upstream's port: all of them keep waiting.
    empty, full = (
        write_node(name, directory, mode="store", upstream=free_port(), snap_key=None)
        for name in ("start-empty", "start-full")
    )
    yield _started(run, empty, names[0])
    progress(f"{_WAITING} events are put into the spool")
    fill(full.config.parent / "relay.db", waiting=_WAITING)
    # The inspection alone first; then beside the first attempts, of which 64 begin at once.
    yield _started(run, full, names[1], role="edge")
    yield _started(run, full, names[2])
    with full.program(PREFERRED) as server:
        server.settle()
        started = server.memory("VmRSS")
        action, took = Action(names[3]), list[float]()
        run.alternate(action, server, lambda: _scrapes(run, full, took))
        left = _events(full, "pending") + _events(full, "leased")
        action.note = f"{len(took)} scrapes, each {median(took) * 1000:.0f} ms; {left} waited"
        yield action
        yield Memory(f"{_WAITING} events waiting", started, server.memory())


def _started(run: Run, node: Node, name: str, role: str = "all") -> Action:
    """Look at a relay from the moment it listens, and at the same one after."""
    action = Action(name)
    for turn in range(1, run.rounds + 1):
        with node.program(PREFERRED, role) as server:
            seen = run.slice(server, run.rest)
            run.note(action, turn, run.calm(server), *seen)
    return action


def _scrapes(run: Run, node: Node, took: list[float]) -> None:
    with Wire(node.admin_port) as admin:
        run.steadily(_SCRAPES, lambda: _ask(admin, _METRICS, took))


def _posts(
    run: Run, a_second: int, node: Node, requests: Iterable[bytes], took: list[float]
) -> None:
    left = iter(requests)
    with Wire(node.port) as wire:
        run.steadily(a_second, lambda: _ask(wire, next(left), took))


def _ask(wire: Wire, raw: bytes, took: list[float]) -> None:
    """Send this, and add how many seconds the answer took.

    Raises:
        RuntimeError: the answer was not 200.
    """
    answered = wire.ask(raw)
    if answered.status != 200:
        raise RuntimeError(f"{raw[:40]!r} is answered {answered.status} {answered.body[:200]!r}")
    took.append(answered.seconds)


def _events(node: Node, status: str) -> int:
    """Return how many events have this status, as the metrics say."""
    with Wire(node.admin_port) as admin:
        exposed = admin.ask(_METRICS).body.decode()
    found = re.findall(
        rf'^relay_spool_events\{{.*status="{status}".*\}} (\S+)', exposed, re.MULTILINE
    )
    return int(sum(float(each) for each in found))
