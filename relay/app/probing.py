"""Tries each upstream of a configuration, and each token server, without an event."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from relay.app.upstream_parts import probe_target
from relay.config import Settings
from relay.core.clock import Clock
from relay.core.urls import without_query
from relay.delivery.probe import ProbeTarget, Step, probe

#: How many are tried at a time.
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Probed:
    """What was seen of an upstream. url: as it may be shown."""

    upstream: str
    url: str
    paused: bool
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        return all(step.ok for step in self.steps)


def probe_count(settings: Settings) -> int:
    """Return how many `probe_upstreams` tries."""
    return len(list(_targets(settings)))


async def probe_upstreams(
    settings: Settings, paused: Collection[str], clock: Clock, tried: Callable[[], None]
) -> list[Probed]:
    """Try them, several at a time, in none longer than `relay.delivery.probe.LONGEST`.

    paused: the names of those that are paused, which are tried all the same.
    tried: is called after each.
    """
    some = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str, target: ProbeTarget) -> Probed:
        async with some:
            steps = await probe(target, clock)
        tried()
        return Probed(name, without_query(target.url), name in paused, tuple(steps))

    return await asyncio.gather(*(one(name, target) for name, target in _targets(settings)))


def _targets(settings: Settings) -> Iterator[tuple[str, ProbeTarget]]:
    for name, upstream in settings.upstreams.items():
        yield name, probe_target(upstream)
