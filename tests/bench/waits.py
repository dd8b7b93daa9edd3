"""Waits of one action beside calm: what a relay's health check takes while something is done."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from tests.bench.machine import SERVER_CORE, core_used
from tests.bench.output import progress
from tests.bench.probing import Prober, Seen
from tests.bench.processes import Program

#: What nothing may stall the loop for, in milliseconds.
BOUND: Final = 10.0

#: Runs a relay so that all of it goes before other programs, where that is allowed, and no thread
#: of it before another: what else the machine has to do is in the way less often. Of programs in
#: sessions of their own the kernel weighs the sessions, sched(7), so being nice alone is no help.
PREFERRED: Final = (
    *("sh", "-c", 'echo -20 >/proc/self/autogroup; exec nice -n -20 "$@"', "sh"),
    sys.executable,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One action and the calm slice beside it.

    others: the share of the server's core that programs had which are no part of the run.
    """

    calm: Seen
    busy: Seen
    others: float


@dataclass(slots=True)
class Action:
    """What was done, and how the relay answered in each round. note: that it was really done."""

    name: str
    note: str = ""
    pairs: list[Pair] = field(default_factory=list)

    def stall(self) -> float:
        """Return for how many milliseconds the loop was held up, beyond the machine's own noise."""
        worst = median(pair.busy.worst for pair in self.pairs)
        return max(0.0, worst - median(pair.calm.worst for pair in self.pairs))

    def row(self) -> list[str]:
        """Return the line of the table."""
        cells = [self.name]
        for slices in ([pair.calm for pair in self.pairs], [pair.busy for pair in self.pairs]):
            cells.append(f"{median(each.median for each in slices):.2f}")
            cells.append(f"{median(each.p99 for each in slices):.2f}")
            worst = [each.worst for each in slices]
            cells.append(f"{median(worst):.1f} [{min(worst):.1f} to {max(worst):.1f}]")
        stall = self.stall()
        return [*cells, f"{stall:.1f}", "met" if stall <= BOUND else "MISSED"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one relay, in MiB: after its start, and the most until its end."""

    node: str
    started: float
    peak: float


class Run:
    """The slices of one run."""

    def __init__(self, prober: Prober, rounds: int, seconds: int) -> None:
        self._prober = prober
        self.rounds = rounds
        self.seconds = seconds

    def slice(self, program: Program, act: Callable[[], None]) -> tuple[Seen, float]:
        """Return what the prober saw, and the share of the core that others had."""
        used, busy, begun = program.cpu(), core_used(SERVER_CORE), time.monotonic()
        seen = self._prober.during(program.port, act)
        passed = time.monotonic() - begun
        others = core_used(SERVER_CORE) - busy - (program.cpu() - used)
        return seen, max(0.0, others) / passed

    def calm(self, program: Program) -> Seen:
        program.settle()
        return self.slice(program, self.rest)[0]

    def rest(self) -> None:
        time.sleep(self.seconds)

    def steadily(self, a_second: int, act: Callable[[], None]) -> None:
        """Do this so often, spread evenly over the slice; as often as it can when it is slow."""
        begun = time.monotonic()
        for number in range(a_second * self.seconds):
            time.sleep(max(0.0, begun + number / a_second - time.monotonic()))
            if time.monotonic() - begun > 2 * self.seconds:
                return
            act()

    def alternate(self, action: Action, program: Program, act: Callable[[], None]) -> Action:
        """Look at a relay at rest and during the action, in turn."""
        for turn in range(1, self.rounds + 1):
            calm = self.calm(program)
            self.note(action, turn, calm, *self.slice(program, act))
        return action

    def note(self, action: Action, turn: int, calm: Seen, busy: Seen, others: float) -> None:
        action.pairs.append(Pair(calm, busy, others))
        progress(
            f"round {turn}/{self.rounds}  {action.name:48} calm {calm.worst:5.1f} ms at most, "
            f"busy {busy.worst:5.1f} ms {busy.worst_at:.2f} s in, others {others:.0%}"
        )
