"""A write of what came of a lease is tried again while the spool is unavailable."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import LeaseLost, SpoolUnavailable
from relay.delivery.write_retry import LeasedWrites
from relay.spool import SpoolBroken
from tests.harness.clock import ManualClock
from tests.harness.deliveries import lease_of
from tests.harness.spying_spool import RecordingObserver

UNAVAILABLE = SpoolUnavailable("the disk is full")


class Store:
    """Fails so at each write, one after the other, and then writes."""

    def __init__(self, faults: Sequence[Exception]) -> None:
        self.faults = list(faults)
        self.tried_at: list[float] = []
        self.clock = ManualClock()
        self.began = self.clock.monotonic()
        self.observer = RecordingObserver()

    async def write(self) -> None:
        self.tried_at.append(self.clock.monotonic() - self.began)
        if self.faults:
            raise self.faults.pop(0)

    async def written(self, seconds: float, fault: Exception | None = None) -> bool:
        """Return what is said of a lease that is held for a minute, after so long."""
        lease = replace(lease_of(), until=self.clock.steady() + timedelta(minutes=1))
        writes = LeasedWrites("billing", self.clock, self.observer)
        writing = asyncio.ensure_future(writes.write(lease, self.write, fault))
        await self.clock.advance(seconds)
        return await writing


async def test_it_is_written_in_the_pauses_of_a_back_off() -> None:
    store = Store([UNAVAILABLE, UNAVAILABLE])
    assert await store.written(1)
    assert store.tried_at == pytest.approx([0.0, 0.1, 0.3])
    assert len(store.observer.faults) == 2


async def test_a_first_failure_is_waited_for_before_the_next_try() -> None:
    store = Store([])
    assert await store.written(1, UNAVAILABLE)
    assert store.tried_at == pytest.approx([0.1])


async def test_it_is_given_up_when_the_lease_would_end_first() -> None:
    store = Store([UNAVAILABLE] * 100)
    assert not await store.written(61)
    assert store.tried_at[-1] < 60


@pytest.mark.parametrize("fault", [LeaseLost("gone"), SpoolBroken("no sync")])
async def test_nothing_is_tried_again_that_cannot_be_written_any_more(fault: Exception) -> None:
    store = Store([fault])
    assert not await store.written(1)
    assert len(store.tried_at) == 1


async def test_any_other_error_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await Store([ZeroDivisionError()]).written(1)
