"""Event ids sort by time, are UUIDs of version 7, and never repeat."""

from uuid import UUID

from relay.core.ids import event_ids
from tests.harness.clock import ManualClock


async def test_an_id_is_a_version_7_uuid_without_full_stop() -> None:
    new_id = event_ids(ManualClock())()
    prefix, _, digits = new_id.partition("_")
    assert prefix == "evt"
    assert UUID(digits).version == 7
    assert UUID(digits).variant == "specified in RFC 4122"
    assert "." not in new_id


async def test_later_ids_sort_later_and_none_repeats() -> None:
    clock = ManualClock()
    new_id = event_ids(clock)
    assert len({new_id() for _ in range(1000)}) == 1000
    first = new_id()
    await clock.advance(0.001)
    assert new_id() > first
