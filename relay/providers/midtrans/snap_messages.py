"""What Midtrans BI-SNAP is answered: JSON with a response code, the time, and no reason why.

A response code is the HTTP status, the service code of the path, and a case. Midtrans takes the
status 200 alone for success, so nothing else is ever said to a message that was taken.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from http.client import responses
from types import MappingProxyType
from typing import Final

from relay import strictjson
from relay.answers import TRANSPORT_STATUSES
from relay.errors import Reason, Refusal
from relay.model import Ack, Ruling, Verdict
from relay.providers import Asked
from relay.providers._snap import ACCOUNT, SERVICES, TIMESTAMP, stamp
from relay.strictjson import JsonObject

_Code = tuple[int, str]

# HTTP status and case. The documentation lists codes for QRIS and, fewer, for VA; for debit it
# prints success alone. Every service is answered with the same ones. These are in neither list
# and follow the rule of the listed ones: 403 and 409 for VA, 404 for an unknown path, 408, 413,
# 415 and 431 for all three, and everything but success for debit.
_SUCCESS: Final[_Code] = (200, "00")
_CONFLICT: Final[_Code] = (409, "00")
_OURS: Final[_Code] = (500, "00")
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
        Reason.SOURCE_UNKNOWN: (403, "01"),
        Reason.SOURCE_NOT_ALLOWED: (403, "01"),
        Reason.FORWARDING_UNTRUSTED: (403, "01"),
        Reason.EVENT_CONFLICT: _CONFLICT,
        # These are no fault of the sender: it is asked to come again.
        Reason.TOO_MANY_CONNECTIONS: _OURS,
        Reason.OVERLOAD: _OURS,
        Reason.CONFIRMATION_FAILED: _OURS,
    }
)
_VERDICTS: Final[Mapping[Verdict, _Code]] = MappingProxyType(
    {
        Verdict.ACCEPTED: _SUCCESS,
        Verdict.DUPLICATE: _SUCCESS,
        Verdict.PASSED: _SUCCESS,
        Verdict.CONFLICT: _CONFLICT,
        Verdict.UNAVAILABLE: _OURS,
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
_SUCCESSES = range(200, 300)
_ECHOED = ("partnerServiceId", "customerNo", "virtualAccountNo", "trxId")


def answer(ruling: Ruling, asked: Asked) -> Ack:
    """Return the answer for this ruling, in SNAP's shape whatever it is."""
    code = _code(ruling)
    return _ack(code, _MESSAGES.get(code, HTTPStatus(code[0]).phrase), asked)


def passed(answered: Ack, asked: Asked) -> Ack:
    """Return an upstream's answer in SNAP's shape, with the time that SNAP wants.

    A JSON object passes as it is, and so does its status: Midtrans takes all but 200 for a
    failure, 201 and 204 too. Without one, a success becomes the relay's own, which is 200, and
    anything else keeps its status, gets the general code of it and loses its body.
    """
    if _is_object(answered.body):
        return replace(answered, headers=(*answered.headers, (TIMESTAMP, stamp(asked.at))))
    if answered.status in _SUCCESSES:
        return answer(Ruling(Verdict.PASSED), asked)
    status = answered.status
    # An upstream may use a status that nobody has registered.
    return _ack((status, "00"), responses.get(status, "Refused"), asked)


def _ack(code: _Code, message: str, asked: Asked) -> Ack:
    status, case = code
    # A path that is none of the three belongs to no service.
    service = SERVICES.get(asked.remainder, "00")
    said: dict[str, object] = {
        "responseCode": f"{status}{service}{case}",
        "responseMessage": message,
    }
    if status == HTTPStatus.OK and asked.remainder == ACCOUNT:
        said["virtualAccountData"] = _account(asked.body)
    headers = [(TIMESTAMP, stamp(asked.at))]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "POST"))  # RFC 9110 wants it with this status
    body = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    return Ack(status, body, "application/json", tuple(headers))


def _is_object(body: bytes) -> bool:
    try:
        strictjson.parse_object(body)
    except Refusal:
        return False
    return True


def _code(ruling: Ruling) -> _Code:
    if ruling.verdict is Verdict.UNAVAILABLE and ruling.late:
        return _LATE
    if ruling.verdict is not Verdict.REFUSED:
        return _VERDICTS[ruling.verdict]
    # A refusal that nobody gave a reason for is our mistake, not the sender's.
    return _OURS if ruling.reason is None else _REFUSED[ruling.reason]


def _account(body: bytes) -> JsonObject:
    """Return what an answer repeats of a virtual account, its leading blanks included."""
    try:
        message = strictjson.parse_object(body)
    except Refusal:
        return {}
    return {name: value for name in _ECHOED if isinstance(value := message.get(name), str)}
