"""One run: all servers up, slices of load in random order, every slice drained before the next."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

from tests.bench.lanes import Lane
from tests.bench.load import Generator
from tests.bench.machine import SERVER_CORE, core_used
from tests.bench.output import progress
from tests.bench.processes import Program
from tests.bench.upstream import Upstream

_WARM_UP: Final = (8, 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one lane did in one slice.

    rate: events a second, over the time until the last one has been delivered where the lane
        delivers, and until the last one has been answered where it does not.
    cpu: seconds of the server's processor time for each event, all that it does later included.
    drain: seconds from the last answer to the last delivery.
    others: the share of the server's core that programs had which are no part of the run.
    bad: requests that were not answered 2xx, or answered and never delivered, or sent before in a
        lane that would notice.
    """

    lane: str
    connections: int
    turn: int
    rate: float
    p50: float
    p99: float
    cpu: float
    drain: float
    memory: float
    others: float
    bad: int


class Track:
    """The lanes of one run, with their servers."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        servers: Mapping[str, Program],
        generators: Mapping[str, Generator],
        upstream: Upstream,
    ) -> None:
        """Take running servers, by their names, and a generator for each lane, by the lane's."""
        self._lanes = lanes
        self._servers = servers
        self._generators = generators
        self._upstream = upstream

    def run(self, rounds: int, seconds: int, connections: Sequence[int]) -> list[Sample]:
        """Give each lane one slice of so many seconds in each round, for each load."""
        for server in self._servers.values():
            server.stop()
        for lane in self._lanes:
            self._slice(lane, *_WARM_UP, turn=0)
        dice, samples = SystemRandom(), []
        for turn in range(1, rounds + 1):
            for many in connections:
                for lane in dice.sample(self._lanes, len(self._lanes)):
                    sample = self._slice(lane, many, seconds, turn=turn)
                    samples.append(sample)
                    progress(
                        f"round {turn}/{rounds}  {many:>3} connections  {lane.name:16}"
                        f"{sample.rate:>8.0f}/s" + (f"  {sample.bad} bad" if sample.bad else "")
                    )
        return samples

    def _slice(self, lane: Lane, connections: int, seconds: int, *, turn: int) -> Sample:
        server = self._servers[lane.server]
        server.resume()
        server.settle()
        delivered, used, busy = self._upstream.count(), server.cpu(), core_used(SERVER_CORE)
        begun = time.monotonic()
        load = self._generators[lane.name].run(connections, seconds)
        expected = load.answered * lane.destinations
        drain = self._upstream.wait_for(delivered + expected) if lane.delivers else 0.0
        server.settle()
        used = server.cpu() - used
        others = (core_used(SERVER_CORE) - busy - used) / (time.monotonic() - begun)
        lost = 0
        if lane.delivers:
            lost = max(0, expected - (self._upstream.count() - delivered))
        memory = server.memory()
        server.stop()
        return Sample(
            lane=lane.name,
            connections=connections,
            turn=turn,
            rate=load.answered / (load.seconds + drain),
            p50=load.p50,
            p99=load.p99,
            cpu=used / max(1, load.answered),
            drain=drain,
            memory=memory,
            others=max(0.0, others),
            bad=load.bad + lost + (0 if lane.repeats else load.repeated),
        )
