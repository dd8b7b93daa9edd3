import json
from datetime import UTC, datetime
from itertools import product

import pytest

from relay.core.errors import Reason
from relay.core.request import Ack, IngestResult, Verdict
from relay.providers import AnswerContext
from relay.providers.midtrans.snap_messages import (
    ACCOUNT,
    DEBIT,
    QRIS,
    SERVICES,
    answer,
    proxied_answer,
)
from tests.contracts.provider import RULINGS

NOW = datetime(2026, 1, 5, 17, 0, 9, 123456, tzinfo=UTC)
STAMP = ("X-TIMESTAMP", "2026-01-06T00:00:09+07:00")
VA = {
    "partnerServiceId": "  088899",
    "customerNo": "12345678901234567890",
    "virtualAccountNo": "  08889912345678901234567890",
    "virtualAccountName": "Jokul Doe",
    "trxId": "Pesanan é \u2028 <1>",
}

# What the documentation lists for QRIS and for VA, as far as it is ever answered here.
LISTED = {
    *("2005600", "2005200", "4005200", "4005201", "4005202", "4015200", "4035201", "4055200"),
    *("4095200", "5005200", "5045200"),
    *("2002500", "4002500", "4002501", "4002502", "4012500", "5002500", "5042500"),
}
# What it lists nowhere, and follows the rule of the listed ones.
BY_RULE = {
    *("4005600", "4005601", "4005602", "4015600", "4035601", "4055600", "4095600", "5005600"),
    *("5045600", "4032501", "4052500", "4092500"),
    *(f"{status}{service}00" for status in (404, 408, 413, 415, 431) for service in (52, 56, 25)),
}


def said(ack: Ack) -> dict[str, object]:
    found = json.loads(ack.body)
    assert isinstance(found, dict)
    return found


def refused(reason: Reason, path: str = QRIS) -> Ack:
    return answer(IngestResult(Verdict.REFUSED, reason), AnswerContext(path, b"", NOW))


# ---- every answer ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*SERVICES, "/unknown", ""])
def test_every_answer_is_in_snaps_shape(path: str) -> None:
    for result, body in product(RULINGS, (json.dumps(VA).encode(), b"", b"not json")):
        ack = answer(result, AnswerContext(path, body, NOW))
        found = said(ack)
        code = found["responseCode"]
        assert isinstance(code, str)
        assert len(code) == 7
        assert code.startswith(str(ack.status))
        assert code[3:5] == SERVICES.get(path, "00")
        assert 0 < len(str(found["responseMessage"])) <= 150
        assert ack.content_type == "application/json"
        assert STAMP in ack.headers


def test_every_code_is_listed_or_follows_the_rule() -> None:
    assert not LISTED & BY_RULE
    codes = {
        str(said(answer(result, AnswerContext(path, b"", NOW)))["responseCode"])
        for result, path in product(RULINGS, SERVICES)
    }
    assert codes == LISTED | BY_RULE


# ---- success --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"), [(DEBIT, "2005600"), (QRIS, "2005200"), (ACCOUNT, "2002500")]
)
@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.PASSED])
def test_success_is_200_and_nothing_else(path: str, code: str, verdict: Verdict) -> None:
    ack = answer(IngestResult(verdict), AnswerContext(path, b"{}", NOW))
    assert ack.status == 200
    assert said(ack)["responseCode"] == code
    assert said(ack)["responseMessage"] == "Successful"
    assert ack.headers == (STAMP,)


def test_a_duplicate_is_answered_like_the_first() -> None:
    context = AnswerContext(ACCOUNT, json.dumps(VA).encode(), NOW)
    assert answer(IngestResult(Verdict.DUPLICATE), context) == answer(
        IngestResult(Verdict.ACCEPTED), context
    )


def test_a_virtual_account_is_repeated_with_its_leading_blanks() -> None:
    ack = answer(
        IngestResult(Verdict.ACCEPTED),
        AnswerContext(ACCOUNT, json.dumps(VA, indent=2).encode(), NOW),
    )
    assert said(ack)["virtualAccountData"] == {
        "partnerServiceId": "  088899",
        "customerNo": "12345678901234567890",
        "virtualAccountNo": "  08889912345678901234567890",
        "trxId": "Pesanan é \u2028 <1>",
    }
    assert b'"  088899"' in ack.body


@pytest.mark.parametrize(
    ("body", "repeated"),
    [
        ({}, {}),
        ({"virtualAccountNo": " 7"}, {"virtualAccountNo": " 7"}),
        ({"virtualAccountNo": 7, "trxId": None, "customerNo": ["1"]}, {}),
        ({"trxId": ""}, {"trxId": ""}),
    ],
)
def test_only_what_is_there_is_repeated(
    body: dict[str, object], repeated: dict[str, object]
) -> None:
    ack = answer(
        IngestResult(Verdict.ACCEPTED), AnswerContext(ACCOUNT, json.dumps(body).encode(), NOW)
    )
    assert said(ack)["virtualAccountData"] == repeated


def test_nothing_is_repeated_elsewhere() -> None:
    context = AnswerContext(QRIS, json.dumps(VA).encode(), NOW)
    assert set(said(answer(IngestResult(Verdict.ACCEPTED), context))) == {
        "responseCode",
        "responseMessage",
    }
    context = AnswerContext(ACCOUNT, json.dumps(VA).encode(), NOW)
    conflict = IngestResult(Verdict.CONFLICT, Reason.EVENT_CONFLICT)
    assert set(said(answer(conflict, context))) == {"responseCode", "responseMessage"}


# ---- everything else ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.BODY_MALFORMED, "4005200"),
        (Reason.TIMESTAMP_INVALID, "4005201"),
        (Reason.FIELD_INVALID, "4005202"),
        (Reason.SIGNATURE_MISSING, "4015200"),
        (Reason.SIGNATURE_MISMATCH, "4015200"),
        (Reason.TIMESTAMP_OUTSIDE_WINDOW, "4015200"),
        (Reason.SOURCE_NOT_ALLOWED, "4035201"),
        (Reason.SOURCE_UNKNOWN, "4035201"),
        (Reason.FORWARDING_UNTRUSTED, "4035201"),
        (Reason.METHOD_NOT_ALLOWED, "4055200"),
        (Reason.HEADER_TIMEOUT, "4085200"),
        (Reason.BODY_TIMEOUT, "4085200"),
        (Reason.EVENT_CONFLICT, "4095200"),
        (Reason.BODY_TOO_LARGE, "4135200"),
        (Reason.BODY_ENCODED, "4155200"),
        (Reason.HEADERS_TOO_LARGE, "4315200"),
        (Reason.OVERLOAD, "5005200"),
        (Reason.TOO_MANY_CONNECTIONS, "5005200"),
    ],
)
def test_a_refusal_has_its_code(reason: Reason, code: str) -> None:
    assert said(refused(reason))["responseCode"] == code


def test_another_message_under_a_known_id_is_a_conflict() -> None:
    ack = answer(
        IngestResult(Verdict.CONFLICT, Reason.EVENT_CONFLICT), AnswerContext(DEBIT, b"{}", NOW)
    )
    assert (ack.status, said(ack)["responseCode"]) == (409, "4095600")


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (IngestResult(Verdict.UNAVAILABLE), "5002500"),
        (IngestResult(Verdict.UNAVAILABLE, late=True), "5042500"),
        (IngestResult(Verdict.REFUSED), "5002500"),
    ],
)
def test_a_failure_of_ours_says_whether_it_was_time(result: IngestResult, code: str) -> None:
    assert said(answer(result, AnswerContext(ACCOUNT, b"{}", NOW)))["responseCode"] == code


def test_another_method_is_told_the_right_one() -> None:
    assert ("Allow", "POST") in refused(Reason.METHOD_NOT_ALLOWED).headers


# ---- what an upstream answered --------------------------------------------------------------


NO_OBJECTS = [
    *(b"", b" \r\n", b"OK", b"no such order", b"<html></html>", b'"OK"', b"null", b"[]", b"200"),
    *(b"{", b"{}{}", b"{'a': 1}", b"\xff", b'{"a": 1, "a": 2}', b"\xef\xbb\xbf{}", b"[" * 5000),
]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("body", NO_OBJECTS)
def test_a_success_without_an_object_becomes_the_relays_own(status: int, body: bytes) -> None:
    context = AnswerContext(ACCOUNT, json.dumps(VA).encode(), NOW)
    assert proxied_answer(Ack(status, body), context) == answer(
        IngestResult(Verdict.ACCEPTED), context
    )


@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 409, 499, 500])
def test_json_passes_with_the_time_beside_it(status: int) -> None:
    body = b'{ "responseCode" : "2002500", "virtualAccountData": {} }'
    answered = Ack(status, body, "application/json;charset=utf-8")
    found = proxied_answer(answered, AnswerContext(ACCOUNT, b"{}", NOW))
    assert found == Ack(status, body, "application/json;charset=utf-8", (STAMP,))


@pytest.mark.parametrize("body", NO_OBJECTS)
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (302, "Found"),
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (404, "Not Found"),
        (409, "Conflict"),
        (499, "Refused"),
        (500, "Internal Server Error"),
    ],
)
def test_a_refusal_without_an_object_keeps_its_status(
    status: int, message: str, body: bytes
) -> None:
    found = proxied_answer(Ack(status, body, "text/html"), AnswerContext(ACCOUNT, b"{}", NOW))
    assert (found.status, found.content_type) == (status, "application/json")
    assert said(found) == {"responseCode": f"{status}2500", "responseMessage": message}
    assert found.headers == (STAMP,)


def test_a_refused_method_is_told_the_right_one() -> None:
    found = proxied_answer(Ack(405), AnswerContext(DEBIT, b"{}", NOW))
    assert (found.status, said(found)["responseCode"]) == (405, "4055600")
    assert found.headers == (STAMP, ("Allow", "POST"))
