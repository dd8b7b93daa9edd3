"""Midtrans BI-SNAP messages: paths and header fields, response bodies, samples."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from http import HTTPStatus
from http.client import responses
from secrets import token_hex
from types import MappingProxyType
from typing import Final

from relay.core import strict_json
from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, IngestResult, Verdict
from relay.core.strict_json import JsonObject
from relay.providers import AnswerContext
from relay.providers.answers import TRANSPORT_STATUSES

# ---- paths, header fields, time -------------------------------------------------------------

DEBIT: Final = "/v1.0/debit/notify"
QRIS: Final = "/v1.0/qr/qr-mpm-notify"
ACCOUNT: Final = "/v1.0/transfer-va/payment"
LINK: Final = "/v1.0/registration-account/notify"

#: The paths that Midtrans appends to a prefix, and the service code of each.
SERVICES: Final[Mapping[str, str]] = MappingProxyType(
    {DEBIT: "56", QRIS: "52", ACCOUNT: "25", LINK: "88"}
)

#: Where a message holds the token that a customer's account is used with, by its path.
TOKENS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {LINK: ("/additionalInfo/accessToken",)}
)

TIMESTAMP: Final = "X-TIMESTAMP"
SIGNATURE: Final = "X-SIGNATURE"
PARTNER: Final = "X-PARTNER-ID"
EXTERNAL: Final = "X-EXTERNAL-ID"
CHANNEL: Final = "CHANNEL-ID"

#: Western Indonesia Time, which has no summer time.
JAKARTA: Final = timezone(timedelta(hours=7))


def stamp(at: datetime) -> str:
    """Return a time as SNAP writes it, such as `2024-03-19T14:30:00+07:00`."""
    return at.astimezone(JAKARTA).isoformat(timespec="seconds")


# ---- response bodies ------------------------------------------------------------------------
# A response code is the HTTP status, the service code of the path, and a case. Midtrans takes the
# status 200 alone for success, so nothing else is ever said to a message that was taken.

_Code = tuple[int, str]

# HTTP status and case. The documentation lists codes for QRIS and, fewer, for VA; for debit it
# prints success alone. Every service is answered with the same ones. These are in neither list
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
_ECHOED = ("partnerServiceId", "customerNo", "virtualAccountNo", "trxId")


def answer(result: IngestResult, context: AnswerContext) -> Ack:
    """Return the answer for any result, in SNAP's form.

    Equal answers of one second are one object.
    """
    code = _code(result)
    second = int(context.at.timestamp())
    if code == _SUCCESS and context.remainder == ACCOUNT:
        data = {"virtualAccountData": _account(context.body)}
        return _ack(code, _PHRASES[code], SERVICES[ACCOUNT], second, data)
    # A path that is none of these belongs to no service.
    return _prepared(code, _PHRASES[code], SERVICES.get(context.remainder, "00"), second)


def proxied_answer(answered: Ack, context: AnswerContext) -> Ack:
    """Return an upstream's answer in SNAP's shape, with the time that SNAP wants.

    A JSON object passes as it is, and so does its status: Midtrans takes all but 200 for a
    failure, 201 and 204 too. Without one, a success becomes the relay's own, which is 200, and
    anything else keeps its status, gets the general code of it and loses its body.
    """
    second = int(context.at.timestamp())
    if _is_object(answered.body):
        headers = (*answered.headers, _stamped(second))
        return Ack(answered.status, answered.body, answered.content_type, headers)
    if answered.status in _SUCCESSES:
        return answer(IngestResult(Verdict.PASSED), context)
    status = answered.status
    # An upstream may use a status that nobody has registered.
    phrase = responses.get(status, "Refused")
    return _prepared((status, "00"), phrase, SERVICES.get(context.remainder, "00"), second)


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


def _account(body: bytes) -> JsonObject:
    """Return the fields of a virtual account that an answer repeats, with their leading blanks."""
    try:
        message = strict_json.parse_object(body, strict_json.TAKEN)
    except Refusal:
        return {}
    return {name: value for name in _ECHOED if isinstance(value := message.get(name), str)}


# ---- samples, as Midtrans' documentation shows them, with references of their own -----------

Message = dict[str, object]


def message(path: str, at: datetime, changes: Mapping[str, str]) -> Message:
    """Return the body for one of the paths, with these fields set.

    changes: by name; dots lead into an object, as in `amount.value`.

    Raises:
        ValueError: a change names what is no field of text, or the path is none of Midtrans'.
    """
    bodies = {QRIS: _qris, DEBIT: _debit, ACCOUNT: _sample_account, LINK: _link}
    if path not in bodies:
        raise ValueError(f"path: there are: {', '.join(bodies)}")
    made = bodies[path](f"relay-{token_hex(8)}-sample", stamp(at))
    for name, value in changes.items():
        if name in {TIMESTAMP, SIGNATURE}:
            raise ValueError(f"{name}: cannot be set; it is made for each sample")
        _set(made, name, value)
    return made


def _set(inside: Message, name: str, value: str) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        inner = inside.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{name}: cannot be set; {parent} is no object in this message")  # noqa: TRY004 - a bad value
        inside = inner
    if not all((*parents, last)) or not isinstance(inside.get(last, ""), str):
        raise ValueError(f"{name}: cannot be set; it is no field of text in this message")
    inside[last] = value


def _qris(reference: str, at: str) -> Message:  # noqa: ARG001 - this kind tells no time
    return {
        "originalReferenceNo": reference,
        "originalPartnerReferenceNo": "2020102900000000000001",
        "latestTransactionStatus": "00",
        "transactionStatusDesc": "success",
        "amount": {"value": "12345678.00", "currency": "IDR"},
        "externalStoreID": "124928924949487",
        "additionalInfo": {
            "qris": {
                "issuerName": "gopay",
                "acquirerName": "gopay",
                "transactionType": "ON-US",
            }
        },
    }


def _debit(reference: str, at: str) -> Message:
    return {
        "createdTime": at,
        "latestTransactionStatus": "00",
        "originalReferenceNo": reference,
        "finishedTime": at,
        "originalPartnerReferenceNo": "merchant-order-id",
        "transactionStatusDesc": "desc",
        "originalExternalId": "merchant-order-id",
        "additionalInfo": {
            "userPaymentDetails": [{"payMethod": "gopay", "payOption": "GOPAY_WALLET"}],
        },
    }


def _sample_account(reference: str, at: str) -> Message:
    return {
        "partnerServiceId": "  088899",
        "customerNo": "12345678901234567890",
        "virtualAccountNo": "  08889912345678901234567890",
        "virtualAccountName": "Jokul Doe",
        "trxId": reference,
        "paymentRequestId": "abcdef-123456-abcdef",
        "paidAmount": {"value": "12345678.00", "currency": "IDR"},
        "referenceNo": "123456789012345",
        "additionalInfo": {
            "bank": "BCA",
            "paymentFlagStatus": "00",
            "merchantId": "G059876677",
            "paidTime": at,
        },
    }


def _link(reference: str, at: str) -> Message:  # noqa: ARG001 - this kind tells no time
    return {
        "additionalInfo": {
            "accessToken": reference,
            "merchantId": "G059876677",
            "subMerchantId": "pop-id",
            "paymentType": "gopay",
            "accountStatus": "ENABLED",
            "statusMessage": "Account linked",
        }
    }
