"""What travels is compared by what it says."""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address

import pytest

from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via, frozen


@frozen
class _Point:
    x: int
    y: int = 0


def test_equal_by_fields_and_fit_for_a_set() -> None:
    assert _Point(1) == _Point(1, 0) != _Point(1, 2)
    assert {_Point(1), _Point(1, 0)} == {_Point(1)}


def test_another_is_made_instead_of_a_change() -> None:
    first = _Point(1)
    assert (replace(first, y=5), first) == (_Point(1, 5), _Point(1))


def test_the_type_checker_refuses_a_change() -> None:
    # Strict mypy complains of a comment that has nothing to ignore.
    _Point(1).x = 2  # type: ignore[misc]


def test_there_is_no_room_for_anything_else() -> None:
    with pytest.raises(AttributeError):
        _Point(1).z = 2  # type: ignore[attr-defined] # that is the point


# ---- headers --------------------------------------------------------------------------------

FIELDS = Headers((("X-Date", "a"), ("Host", "h"), ("x-date", "b")))


def test_every_value_of_a_name_is_found_in_whatever_case_and_in_order() -> None:
    assert FIELDS.values("X-DATE") == ("a", "b")
    assert FIELDS.values("Date") == ()
    assert FIELDS.values("absent") == ()


def test_only_some_fields_stay_in_the_order_received() -> None:
    assert list(FIELDS.only({"x-date"})) == [("X-Date", "a"), ("x-date", "b")]
    assert list(FIELDS.only({"host", "x-date"})) == list(FIELDS)
    assert list(FIELDS.only({"host"})) == [("Host", "h")]


def test_a_single_value_is_there_once_and_not_empty() -> None:
    fields = Headers((("A", "1"), ("B", ""), ("C", "2"), ("c", "2"), ("D", ""), ("d", "3")))
    assert [fields.single(name) for name in "abcde"] == ["1", None, None, None, None]
    assert Headers().single("a") is None


def test_names_that_a_parser_knows_are_used_as_they_are() -> None:
    fields = (("A", "1"), ("B", "2"), ("a", "3"))
    known, fresh = Headers(fields, ("a", "b", "a")), Headers(fields)
    assert known == fresh
    assert [*known.only({"b", "a"})] == [*fresh.only({"b", "a"})] == [*fields]
    assert known.values("A") == fresh.values("A") == ("1", "3")
    assert (known.single("b"), known.single("a")) == (fresh.single("b"), fresh.single("a"))


def test_a_look_up_changes_nothing_of_what_is_compared() -> None:
    fields = (("A", "1"), ("b", "2"))
    asked, fresh = Headers(fields), Headers(fields)
    assert asked.values("B") == asked.values("b") == ("2",)
    assert (asked, hash(asked), list(asked)) == (fresh, hash(fresh), list(fresh))


def test_values_are_not_shown() -> None:
    assert repr(Headers((("Authorization", "canary"),))) == "Headers(Authorization)"


# ---- deliveries -----------------------------------------------------------------------------


def test_a_delivery_holds_the_hash_of_its_body() -> None:
    peer = ip_address("192.0.2.1")
    head = RequestHead("POST", "/a", Headers(), peer, datetime(2026, 1, 5, tzinfo=UTC))
    first = Delivery("a", head, ClientAddress(peer, Via.PEER), "", b"{}")
    assert first.body_sha256 == sha256(b"{}").digest()
    assert replace(first, body=b"[]").body_sha256 == sha256(b"[]").digest()
    assert "body_sha256" not in repr(first)


# ---- the head -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("/a", "/a", ""), ("/a?b=1", "/a", "?b=1"), ("/a?", "/a", "?"), ("/a?b?c", "/a", "?b?c")],
)
def test_a_target_is_split_at_its_first_question_mark(target: str, path: str, query: str) -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    head = RequestHead("POST", target, Headers(), ip_address("192.0.2.1"), at)
    assert (head.path, head.query) == (path, query)
    assert head.path + head.query == target
