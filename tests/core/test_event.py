"""The types that travel keep what arrived."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from relay.core.event import Event, event_of
from relay.core.request import Headers, RequestHead
from tests.harness.deliveries import verified

FIELDS = Headers((("X-Date", "a"), ("Host", "h"), ("x-date", "b")))


def test_headers_are_found_without_case_and_in_order() -> None:
    assert FIELDS.values("X-DATE") == ("a", "b")
    assert FIELDS.values("absent") == ()
    assert list(FIELDS.only("host", "X-Date")) == list(FIELDS)
    assert list(FIELDS.only("HOST")) == [("Host", "h")]


def test_headers_do_not_print_their_values() -> None:
    assert repr(Headers((("Authorization", "canary"),))) == "Headers(Authorization)"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("/a", "/a", ""), ("/a?b=1", "/a", "?b=1"), ("/a?", "/a", "?"), ("/a?b?c", "/a", "?b?c")],
)
def test_a_target_is_split_at_its_first_question_mark(target: str, path: str, query: str) -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    head = RequestHead("POST", target, Headers(), ip_address("192.0.2.1"), at)
    assert (head.path, head.query) == (path, query)
    assert head.path + head.query == target


def test_an_event_does_not_print_its_body() -> None:
    assert Event.__dataclass_fields__["body"].repr is False


# ---- forwarded ------------------------------------------------------------------------------


def test_an_event_says_what_its_delivery_said() -> None:
    delivery = verified(key="k", subject="tx", path="/snap/v1.0/x?a=1", remainder="/v1.0/x")
    event = event_of(delivery, conflicts_with="evt_1", out_of_order=True)
    assert (event.id, event.key, event.subject) == (delivery.event_id, "k", "tx")
    assert (event.suffix, event.body) == ("/v1.0/x?a=1", delivery.delivery.body)
    assert (event.conflicts_with, event.out_of_order) == ("evt_1", True)
    assert event.signed == delivery.signed
    assert (event.reconciled, event.confirm) == (False, False)
    marked = event_of(replace(delivery, reconciled=True, confirm=True))
    assert (marked.reconciled, marked.confirm) == (True, True)
