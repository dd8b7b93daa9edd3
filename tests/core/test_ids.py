"""Event ids sort by time, are UUIDs of version 7, and never repeat."""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.ids import MAX_PART, event_ids, of_digest, spell

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


# ---- event keys -----------------------------------------------------------------------------

steady = settings(derandomize=True, deadline=None)
parts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), min_size=1)


def test_plain_parts_read_as_they_are() -> None:
    assert spell("9aed5972-5b6a", "settlement", "200", "") == "9aed5972-5b6a:settlement:200:"
    assert spell("2016-10-20 12/39 +0700") == "2016-10-20 12/39 +0700"


def test_what_could_mislead_a_reader_is_escaped() -> None:
    assert spell("a:b", "50%\r\n", "é\u202e") == "a%3Ab:50%25%0D%0A:%C3%A9%E2%80%AE"


def test_a_long_part_becomes_its_hash() -> None:
    long = "x" * (MAX_PART + 1)
    assert spell("a", long) == "a:*" + hashlib.sha256(long.encode()).hexdigest()
    assert spell("*abc") == "%2Aabc"


@steady
@given(parts, parts)
def test_different_parts_make_different_keys(first: list[str], second: list[str]) -> None:
    assert (spell(*first) == spell(*second)) is (first == second)


close = st.lists(st.text("a:%*", max_size=3), min_size=1, max_size=3)


@steady
@given(close, close)
def test_colons_in_parts_do_not_make_other_parts(first: list[str], second: list[str]) -> None:
    assert (spell(*first) == spell(*second)) is (first == second)


@steady
@given(st.lists(st.sampled_from(["a", "a:b", "", "*", "x" * MAX_PART, "x" * (MAX_PART + 1)])))
def test_a_key_is_the_spelling_of_each_part(found: list[str]) -> None:
    assert spell(*found) == ":".join(spell(part) for part in found)


@steady
@given(parts)
def test_a_key_is_safe_to_print_and_bounded(found: list[str]) -> None:
    key = spell(*found)
    assert key.isascii()
    assert key.isprintable()
    assert len(key) <= len(found) * (MAX_PART * 12 + 1)


def test_a_body_is_named_by_its_hash() -> None:
    assert of_digest(hashlib.sha256(b"{}").digest()) == (
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )
