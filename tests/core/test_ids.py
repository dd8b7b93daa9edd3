"""Event ids sort by time, are UUIDs of version 7, and never repeat."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from relay.core.ids import event_ids

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_an_id_is_a_version_7_uuid_without_full_stop() -> None:
    event_id = event_ids()(AT)
    prefix, _, digits = event_id.partition("_")
    assert prefix == "evt"
    assert UUID(digits).version == 7
    assert UUID(digits).variant == "specified in RFC 4122"
    assert "." not in event_id


def test_later_ids_sort_later_and_none_repeats() -> None:
    new_id = event_ids()
    assert len({new_id(AT) for _ in range(1000)}) == 1000
    assert new_id(AT + timedelta(milliseconds=1)) > new_id(AT)
