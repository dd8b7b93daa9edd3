"""The clock is read once a step of a delivery, and the time is handed on."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from relay.delivery.attempt import Upstream
from relay.delivery.dispatcher import Dispatcher
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import HttpSender
from relay.spool.sqlite import open_spool
from tests.harness.clock import CountingClock, ManualClock
from tests.harness.deliveries import numbered
from tests.harness.spying_spool import RecordingObserver, SpyingSpool
from tests.harness.upstream import Upstream as Server

TIMEOUT = timedelta(seconds=10)
POLICY = RetryPolicy((timedelta(seconds=5),), timedelta(hours=1))


async def reads_of_a_delivery(directory: Path, *, claimed: bool) -> Counter[tuple[str, str]]:
    """Return who read which clock until one event was delivered, settled and told of.

    claimed: it lay in the spool when the dispatcher started; else it is handed over as it is
        stored, to a worker that waits for work.
    """
    manual, observer = ManualClock(), RecordingObserver()
    clock = CountingClock(manual)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server())
        spool = SpyingSpool(await open_spool(directory / "relay.db", clock), manual)
        stack.push_async_callback(spool.close)
        sender = HttpSender(server.url, timeout=TIMEOUT, concurrency=4, clock=clock)
        stack.push_async_callback(sender.close)
        upstream = Upstream("billing", sender, TIMEOUT, 4, POLICY, url=server.url)
        dispatcher = Dispatcher(
            spool=spool, upstreams=(upstream,), clock=clock, dice=Random(1), observer=observer
        )
        if claimed:
            await spool.put(numbered(1))
        clock.reads.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            if not claimed:
                await manual.advance(0)
                await spool.rests()
                clock.reads.clear()
                await spool.put(numbered(1))
            await observer.until_delivered(1)
            reads = Counter(clock.reads)
            await dispatcher.stop(1.0)
    return reads


@pytest.mark.parametrize("claimed", [True, False])
async def test_a_delivery_reads_the_clock_eight_times(tmp_path: Path, claimed: bool) -> None:
    """At the start, for its timestamp, at the end, and when that is on record.

    Monotonic time, which is read in a fraction of the time, measures what passes between them.
    The spool reads it when it stores or claims, and when it settles.
    """
    assert await reads_of_a_delivery(tmp_path, claimed=claimed) == {
        ("relay.delivery.worker", "steady"): 1,
        ("relay.delivery.sender", "now"): 1,
        ("relay.delivery.attempt", "monotonic"): 3,
        ("relay.delivery.attempt", "now"): 1,
        ("relay.spool.sqlite", "steady"): 1,
        ("relay.spool.sqlite", "now"): 1,
    }
