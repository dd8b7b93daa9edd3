import json

import pytest

from relay.core.errors import Reason
from relay.core.request import Ack, IngestResult, Verdict
from relay.providers.snap import ACCESS, ACCOUNT, INQUIRY, SERVICES, Dialect
from relay.providers.snap.answers import Answers
from tests.contracts.provider import NOW, RULINGS
from tests.harness.deliveries import AnswerContext

CODES = {**SERVICES, INQUIRY: "24", ACCESS: "73"}
ANSWERS = Answers(Dialect(services={**SERVICES, INQUIRY: "24"}, symmetric=True, token_path=ACCESS))


def code(ack: Ack) -> str:
    said = json.loads(ack.body)
    assert len(said["responseMessage"]) <= 150
    return str(said["responseCode"])


@pytest.mark.parametrize("path", [*CODES, "/other", ""])
def test_a_code_begins_with_its_status_and_names_its_service(path: str) -> None:
    service = CODES.get(path, "00")
    for result in RULINGS:
        ack = ANSWERS.answer(result, AnswerContext(path, b"{}", NOW))
        assert code(ack)[:5] == f"{ack.status}{service}"
        assert ack.headers[0] == ("X-TIMESTAMP", "2026-01-05T19:00:00+07:00")


def test_a_forged_question_for_a_token_is_unauthorized() -> None:
    result = IngestResult(Verdict.REFUSED, Reason.SIGNATURE_MISMATCH)
    ack = ANSWERS.answer(result, AnswerContext(ACCESS, b"{}", NOW))
    assert (ack.status, code(ack)) == (401, "4017300")


def test_a_payment_of_a_virtual_account_repeats_it() -> None:
    body = {"partnerServiceId": "   12345", "virtualAccountName": "É", "x": 1, "trxId": 7}
    context = AnswerContext(ACCOUNT, json.dumps(body).encode(), NOW)
    ack = ANSWERS.answer(IngestResult(Verdict.ACCEPTED), context)
    expected = {"partnerServiceId": "   12345", "virtualAccountName": "É"}
    assert json.loads(ack.body)["virtualAccountData"] == expected
    own = Answers(Dialect(echoed=("x", "partnerServiceId")))
    ack = own.answer(IngestResult(Verdict.ACCEPTED), context)
    assert json.loads(ack.body)["virtualAccountData"] == {"partnerServiceId": "   12345"}


@pytest.mark.parametrize("body", [b"", b"OK", b"[]"])
def test_a_question_without_an_answer_is_a_failure(body: bytes) -> None:
    """A bank would take a success for the account's being there."""
    context = AnswerContext(INQUIRY, b"{}", NOW)
    assert code(ANSWERS.proxied_answer(Ack(200, body), context)) == "5002400"
    assert code(ANSWERS.proxied_answer(Ack(404, body), context)) == "4042400"
    answered = Ack(404, b'{"responseCode":"4042412"}', "application/json")
    assert code_of_object(answered, context) == "4042412"


def code_of_object(answered: Ack, context: AnswerContext) -> str:
    passed = ANSWERS.proxied_answer(answered, context)
    assert passed.status == answered.status
    return str(json.loads(passed.body)["responseCode"])
