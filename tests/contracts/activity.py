"""What the hours in every spool keep to: subclass it and give a fixture `opener`."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.activity import KEPT, Activity, hour_of
from tests.contracts.spool import Opener
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED

HOUR = hour_of(RECEIVED)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def counted(
    deliveries: int, *, hour: datetime = HOUR, endpoint: str = "shop", verdict: str = "accepted"
) -> Activity:
    """Return a number of deliveries."""
    return Activity(hour, endpoint, verdict, deliveries)


class ActivityContract:
    async def test_numbers_add_up_by_hour_endpoint_and_verdict(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        apart = [
            counted(2),
            counted(1, verdict="refused"),
            counted(5, endpoint="other"),
            counted(7, hour=HOUR + timedelta(hours=1)),
        ]
        await spool.activity.add(apart, {})
        await spool.activity.add([counted(40)], {})
        found = await spool.activity.since(LONG_AGO)
        assert set(found) == {*apart[1:], counted(42)}
        assert [each.hour for each in found] == sorted(each.hour for each in found)
        await spool.close()

    async def test_only_what_is_asked_for_is_returned(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        later = counted(1, hour=HOUR + timedelta(hours=2))
        await spool.activity.add([counted(1), later], {})
        assert await spool.activity.since(HOUR + timedelta(hours=1)) == (later,)
        assert await spool.activity.since(HOUR + timedelta(hours=2, minutes=59)) == (later,)
        assert await spool.activity.since(HOUR + timedelta(hours=3)) == ()
        await spool.close()

    async def test_hours_of_long_ago_are_removed(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        await spool.activity.add([counted(1), counted(2, hour=HOUR + timedelta(hours=1))], {})
        newest = counted(3, hour=HOUR + timedelta(hours=1) + KEPT)
        await spool.activity.add([newest], {})
        found = await spool.activity.since(LONG_AGO)
        assert found == (counted(2, hour=HOUR + timedelta(hours=1)), newest)
        await spool.close()

    async def test_of_the_times_the_latest_stays(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        assert await spool.activity.last_deliveries() == {}
        earlier = RECEIVED - timedelta(milliseconds=1)
        await spool.activity.add([], {"shop": RECEIVED, "other": earlier})
        await spool.activity.add([], {"shop": earlier})
        assert await spool.activity.last_deliveries() == {"shop": RECEIVED, "other": earlier}
        await spool.close()

    async def test_processes_add_up_and_a_restart_keeps_them(self, opener: Opener) -> None:
        one, other = await opener(ManualClock()), await opener(ManualClock())
        await asyncio.gather(
            one.activity.add([counted(1)], {"shop": RECEIVED}), other.activity.add([counted(2)], {})
        )
        await one.close()
        await other.close()
        again = await opener(ManualClock())
        assert await again.activity.since(HOUR) == (counted(3),)
        assert await again.activity.last_deliveries() == {"shop": RECEIVED}
        await again.close()

    async def test_a_closed_spool_keeps_none(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        await spool.close()
        with pytest.raises(SpoolUnavailable):
            await spool.activity.add([counted(1)], {})
