"""Answers to BI-SNAP messages: response codes, response bodies, what an upstream answered."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from http.client import responses
from types import MappingProxyType
from typing import Final

from relay.core import strict_json
from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, IngestResult, Verdict
from relay.core.strict_json import JsonObject
from relay.providers import AnswerContext
from relay.providers.answers import TRANSPORT_STATUSES
from relay.providers.snap import (
    ACCESS_SERVICE,
    ACCOUNT_SERVICE,
    JAKARTA,
    QUESTIONS,
    TIMESTAMP,
    Dialect,
    stamp,
)

# A response code is the HTTP status, the service code of the path, and a case. Midtrans takes the
# status 200 alone for success, so nothing else is ever said to a message that was taken.

_Code = tuple[int, str]

# HTTP status and case. Midtrans' documentation lists codes for QRIS and, fewer, for VA; for debit
# it prints success alone. Every service is answered with the same ones. These are in neither list
# and follow the rule of the listed ones: 403 and 409 for VA, 404 for an unknown path, 408, 413,
# 415 and 431 for all three, and everything but success for debit.
_SUCCESS: Final[_Code] = (200, "00")
_CONFLICT: Final[_Code] = (409, "00")
_INTERNAL_ERROR: Final[_Code] = (500, "00")
_LATE: Final[_Code] = (504, "00")
_REFUSED: Final[Mapping[Reason, _Code]] = MappingProxyType(
    {
        **{reason: (status, "00") for reason, status in TRANSPORT_STATUSES.items()},
        Reason.PROXY_HEADER_INVALID: (400, "00"),
        Reason.BODY_MALFORMED: (400, "00"),
        Reason.TIMESTAMP_INVALID: (400, "01"),
        Reason.FIELD_INVALID: (400, "02"),
        Reason.SIGNATURE_MISSING: (401, "00"),
        Reason.SIGNATURE_MISMATCH: (401, "00"),
        Reason.TIMESTAMP_OUTSIDE_WINDOW: (401, "00"),
        Reason.FIELD_FOREIGN: (401, "00"),
        Reason.SOURCE_UNKNOWN: (403, "01"),
        Reason.SOURCE_NOT_ALLOWED: (403, "01"),
        Reason.FORWARDING_UNTRUSTED: (403, "01"),
        Reason.EVENT_CONFLICT: _CONFLICT,
        # These are no fault of the sender: it is asked to come again.
        Reason.TOO_MANY_CONNECTIONS: _INTERNAL_ERROR,
        Reason.OVERLOAD: _INTERNAL_ERROR,
        Reason.CONFIRMATION_FAILED: _INTERNAL_ERROR,
    }
)
_VERDICTS: Final[Mapping[Verdict, _Code]] = MappingProxyType(
    {
        Verdict.ACCEPTED: _SUCCESS,
        Verdict.DUPLICATE: _SUCCESS,
        Verdict.PASSED: _SUCCESS,
        Verdict.CHALLENGED: _SUCCESS,
        Verdict.CONFLICT: _CONFLICT,
        Verdict.UNAVAILABLE: _INTERNAL_ERROR,
    }
)
_MESSAGES: Final[Mapping[_Code, str]] = MappingProxyType(
    {
        _SUCCESS: "Successful",
        (400, "01"): "Invalid Field Format X-TIMESTAMP",
        (400, "02"): "Invalid Mandatory Field",
        (401, "00"): "Unauthorized. Signature",
        (405, "00"): "Requested function is not supported",
        _CONFLICT: "Cannot use same X-EXTERNAL-ID in same day",
        _LATE: "Timeout",
    }
)
_PHRASES: Final[Mapping[_Code, str]] = MappingProxyType(
    {
        code: _MESSAGES.get(code, HTTPStatus(code[0]).phrase)
        for code in (*_REFUSED.values(), *_VERDICTS.values(), _LATE)
    }
)
_SUCCESSES = range(200, 300)
_TAKEN: Final = IngestResult(Verdict.PASSED)
_UNANSWERED: Final = IngestResult(Verdict.UNAVAILABLE)


class Answers:
    """The answers to messages of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._services = dict(dialect.services)
        if dialect.token_path is not None:
            self._services[dialect.token_path] = ACCESS_SERVICE
        self._echoed = dialect.echoed

    def answer(self, result: IngestResult, context: AnswerContext) -> Ack:
        """Return the answer for any result, in SNAP's form.

        Equal answers of one second are one object.
        """
        code = _code(result)
        second = int(context.at.timestamp())
        # A path that is none of these belongs to no service.
        service = self._services.get(context.remainder, "00")
        if service == ACCOUNT_SERVICE and code == _SUCCESS:
            data = {"virtualAccountData": _account(context.body, self._echoed)}
            return _ack(code, _PHRASES[code], service, second, data)
        return _prepared(code, _PHRASES[code], service, second)

    def proxied_answer(self, answered: Ack, context: AnswerContext) -> Ack:
        """Return an upstream's answer in SNAP's shape, with the time that SNAP wants.

        A JSON object passes as it is, and so does its status: Midtrans takes all but 200 for a
        failure, 201 and 204 too. Without one, a success becomes the relay's own, which is 200, and
        anything else keeps its status, gets the general code of it and loses its body. A question
        is not answered by that: without an object its answer is a failure.
        """
        second = int(context.at.timestamp())
        if _is_object(answered.body):
            headers = (*answered.headers, _stamped(second))
            return Ack(answered.status, answered.body, answered.content_type, headers)
        service = self._services.get(context.remainder, "00")
        if answered.status in _SUCCESSES:
            asked = service in QUESTIONS
            return self.answer(_UNANSWERED if asked else _TAKEN, context)
        status = answered.status
        # An upstream may use a status that nobody has registered.
        phrase = responses.get(status, "Refused")
        return _prepared((status, "00"), phrase, service, second)


def _ack(
    code: _Code,
    phrase: str,
    service: str,
    second: int,
    data: Mapping[str, JsonObject] = MappingProxyType({}),
) -> Ack:
    """Build an answer of this second since 1970; `data`: fields of its own."""
    status, case = code
    fields = {"responseCode": f"{status}{service}{case}", "responseMessage": phrase, **data}
    headers = [_stamped(second)]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "POST"))  # RFC 9110 wants it with this status
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return Ack(status, body, "application/json", tuple(headers))


@lru_cache(maxsize=64)
def _prepared(code: _Code, phrase: str, service: str, second: int) -> Ack:
    return _ack(code, phrase, service, second)


@lru_cache(maxsize=4)
def _stamped(second: int) -> tuple[str, str]:
    return TIMESTAMP, stamp(datetime.fromtimestamp(second, JAKARTA))


def _is_object(body: bytes) -> bool:
    try:
        strict_json.parse_object(body)
    except Refusal:
        return False
    return True


def _code(result: IngestResult) -> _Code:
    if result.verdict is Verdict.UNAVAILABLE and result.late:
        return _LATE
    if result.verdict is not Verdict.REFUSED:
        return _VERDICTS[result.verdict]
    # A refusal that nobody gave a reason for is our mistake, not the sender's.
    return _INTERNAL_ERROR if result.reason is None else _REFUSED[result.reason]


def _account(body: bytes, echoed: Sequence[str]) -> JsonObject:
    """Return the fields of a virtual account that an answer repeats, with their leading blanks."""
    try:
        message = strict_json.parse_object(body, strict_json.TAKEN)
    except Refusal:
        return {}
    return {name: value for name in echoed if isinstance(value := message.get(name), str)}
