import pytest

from relay.core.errors import Reason
from relay.core.request import IngestResult, Verdict
from relay.providers.answers import TRANSPORT_STATUSES, plain_answer

REFUSED = {
    "unknown_endpoint": 404,
    "method_not_allowed": 405,
    "source_unknown": 403,
    "source_not_allowed": 403,
    "forwarding_untrusted": 403,
    "headers_too_large": 431,
    "header_timeout": 408,
    "proxy_header_invalid": 400,
    "body_too_large": 413,
    "body_timeout": 408,
    "body_encoded": 415,
    "body_malformed": 400,
    "field_invalid": 400,
    "field_foreign": 401,
    "signature_missing": 401,
    "signature_mismatch": 401,
    "timestamp_invalid": 400,
    "timestamp_outside_window": 401,
    "event_conflict": 409,
    "too_many_connections": 502,
    "overload": 502,
    "confirmation_failed": 502,
}
VERDICTS = {
    **dict.fromkeys(("accepted", "duplicate", "passed", "challenged"), 200),
    "conflict": 409,
    "unavailable": 502,
}


def test_every_reason_has_its_status() -> None:
    found = {str(r): plain_answer(IngestResult(Verdict.REFUSED, r)).status for r in Reason}
    assert found == REFUSED


def test_every_other_verdict_has_its_status_whatever_the_reason() -> None:
    for verdict in set(Verdict) - {Verdict.REFUSED}:
        statuses = {
            plain_answer(IngestResult(verdict, reason)).status for reason in (None, *Reason)
        }
        assert statuses == {VERDICTS[verdict]}


def test_a_refusal_without_a_reason_is_our_fault() -> None:
    assert plain_answer(IngestResult(Verdict.REFUSED)).status == 502


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("reason", [None, *Reason])
def test_only_a_success_has_a_body(verdict: Verdict, reason: Reason | None) -> None:
    ack = plain_answer(IngestResult(verdict, reason), ("POST",))
    assert ack.body == (b"OK" if ack.status == 200 else b"")
    assert ack.status in {200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 431, 502}


def test_a_wrong_method_is_told_the_right_ones() -> None:
    result = IngestResult(Verdict.REFUSED, Reason.METHOD_NOT_ALLOWED)
    assert plain_answer(result, ("POST", "DELETE")).headers == (("Allow", "POST, DELETE"),)
    assert plain_answer(result).headers == ()
    assert plain_answer(IngestResult(Verdict.REFUSED, Reason.OVERLOAD), ("POST",)).headers == ()


def test_the_transport_statuses_are_part_of_the_table() -> None:
    assert {str(r): s for r, s in TRANSPORT_STATUSES.items()}.items() <= REFUSED.items()


def test_equal_answers_are_one_object() -> None:
    accepted, duplicate = (IngestResult(each) for each in (Verdict.ACCEPTED, Verdict.DUPLICATE))
    assert plain_answer(accepted) is plain_answer(duplicate, ("POST",))
    refused = IngestResult(Verdict.REFUSED, Reason.METHOD_NOT_ALLOWED)
    assert plain_answer(refused, ("POST",)) is plain_answer(refused, ("POST",))
