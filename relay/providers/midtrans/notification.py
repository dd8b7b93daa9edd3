"""Midtrans: HTTP notifications of payments, recurring payments and linked accounts.

The signature stands in the body and covers three of its fields, joined without a separator. It
covers neither the transaction's status nor a time, and one order repeats it. It is therefore no
event key, and the fields must have the shapes that Midtrans gives them: otherwise digits could
move from one field to the next under the same signature.
"""

import hashlib
import json
import re
from datetime import date, timedelta, timezone
from itertools import takewhile
from secrets import token_hex
from typing import Any, Final
from uuid import uuid4

from relay.core import ids, strict_json
from relay.core.errors import Reason, Refusal
from relay.core.event import STATUS_CONTRADICTS_CODE
from relay.core.patterns import MAX_TEXT, LinearPattern
from relay.core.request import Delivery, Headers, OnConflict, OnReplay, Verification
from relay.core.secret import Secret
from relay.core.strict_json import JsonObject, JsonValue
from relay.providers import (
    AddressList,
    EndpointOptions,
    Environment,
    Inspector,
    Provider,
    ProviderInfo,
    Sample,
    SampleOrder,
    media_type,
)
from relay.providers.answers import PlainAnswers
from relay.providers.references import FieldsAsReferences
from relay.providers.required_fields import check_signed, requiring
from relay.signatures import OnSigned, SignedText, ignore_signed
from relay.signatures.shared_secret import Digest

_PAGE = "Midtrans, IP Addresses & API Domain"

# fmt: off
_PRODUCTION_NEW = (
    "8.215.30.222", "147.139.209.49", "8.215.32.142", "147.139.163.77", "8.215.25.24",
    "8.215.3.193", "147.139.210.20", "149.129.238.95", "8.215.9.206", "147.139.134.22",
    "149.129.253.222", "8.215.56.174", "8.215.27.65", "147.139.129.139", "149.129.192.10",
    "8.215.15.117", "149.129.234.6", "8.215.79.106", "149.129.192.204", "8.215.83.17",
    "147.139.197.147", "147.139.207.105", "147.139.193.191", "147.139.201.222", "8.215.82.175",
    "149.129.218.45", "8.215.10.140", "8.215.83.130", "147.139.206.209", "8.215.75.234",
)
_PRODUCTION_LEGACY = (
    "103.208.23.0/24", "103.208.23.6/32", "103.127.16.0/23", "103.127.17.6/32", "34.87.92.33",
    "34.87.59.67", "35.186.147.251", "34.87.157.231", "13.228.166.126/32", "52.220.80.5/32",
    "3.1.123.95/32", "108.136.204.114", "108.136.34.95", "108.137.159.245", "108.137.135.225",
    "16.78.53.66", "43.218.2.230", "16.78.88.149", "16.78.85.64", "16.78.69.49", "16.78.98.130",
    "16.78.9.40", "43.218.223.26",
)
_SANDBOX_NEW = (
    "149.129.216.115", "147.139.167.196", "147.139.179.47", "147.139.144.184", "147.139.169.196",
    "147.139.168.217", "8.215.17.96", "149.129.254.13", "147.139.203.227", "147.139.192.94",
    "147.139.206.250", "147.139.213.108", "8.215.23.167", "147.139.209.91", "8.215.21.228",
    "147.139.173.83", "147.139.132.215", "149.129.227.68", "149.129.234.77", "147.139.137.231",
    "147.139.180.156", "8.215.10.65", "8.215.22.163", "147.139.215.190", "8.215.0.89",
    "8.215.16.140", "147.139.165.251", "147.139.209.83", "147.139.167.157", "147.139.192.232",
)
_SANDBOX_LEGACY = (
    "34.101.68.130", "34.101.92.69", "34.142.147.133/32", "34.142.169.131/32", "34.142.231.22/32",
    "35.240.161.215/32", "34.142.227.232/32", "34.124.184.175/32", "35.197.130.2/32",
    "34.142.233.114/32",
)
# fmt: on

# The page dropped the sandbox address 103.58.103.177 on 2022-03-15: it is in no list.
_PRODUCTION: Final = Environment(
    listings=(
        AddressList(
            f"{_PAGE}, 2022-03-15",
            ("103.208.23.0/24", "103.208.23.6/32", "103.127.16.0/23", "103.127.17.6/32"),
        ),
        AddressList(f"{_PAGE}, 2025-11-10, new", _PRODUCTION_NEW),
        AddressList(f"{_PAGE}, 2025-11-10, legacy", _PRODUCTION_LEGACY),
    ),
    status_api="https://api.midtrans.com",
)
_SANDBOX: Final = Environment(
    listings=(
        AddressList(f"{_PAGE}, 2022-03-15", ("34.101.68.130", "34.101.92.69")),
        AddressList(f"{_PAGE}, 2025-11-10, new", _SANDBOX_NEW),
        AddressList(f"{_PAGE}, 2025-11-10, legacy", _SANDBOX_LEGACY),
    ),
    status_api="https://api.sandbox.midtrans.com",
)

INFO: Final = ProviderInfo(
    name="midtrans",
    title="Midtrans HTTP notification",
    environments={"production": _PRODUCTION, "sandbox": _SANDBOX},
    methods=("POST",),
    secrets="the server key of the environment (Dashboard, Settings, Access Keys)",
    signature=(
        "SHA-512 in lower-case hex, in the body's signature_key, of"
        " {json:/order_id}{json:/status_code}{json:/gross_amount}{secret}; for a linked account"
        " {json:/account_id}{json:/account_status}{json:/status_code}{secret}"
    ),
    event_key=(
        "transaction_id (order_id without one), transaction_status, status_code, fraud_status,"
        " and a hash of what is said of refunds; for a linked account its id, status, status_code"
        " and a hash of the body"
    ),
    answers=(
        "200 OK; Midtrans tries again five times over 5 h 42 min after 401, 403 or 502, and twice"
        " after 400 or 404"
    ),
    document="https://docs.midtrans.com/en/after-payment/http-notification",
    reviewed=date(2026, 11, 21),
)

_TEXT_ALONE: Final = frozenset({str})


class _Signed:
    """The signed fields in their order: the first is any text, each other one has a shape.

    match: matches the values behind the first, joined by NUL, when each has its shape. No shape has
        room for NUL, so a value that holds one matches none.
    """

    def __init__(self, first: str, **shapes: str) -> None:
        self.names = (first, *shapes)
        self._shapes = {first: ".+", **shapes}
        self.match = re.compile("\0".join(shapes.values())).fullmatch

    def refusal(self, message: JsonObject) -> Refusal:
        """Return what is said of the first that is no string or misshapen."""
        for name, shape in self._shapes.items():
            value = message.get(name)
            if not isinstance(value, str):
                return Refusal(Reason.FIELD_INVALID, f"{name} is not a JSON string")
            if not re.fullmatch(shape, value, re.DOTALL):
                break
        return Refusal(Reason.FIELD_INVALID, f"{name} does not have its usual shape")


_STATUS_CODE = "[2-5][0-9]{2}"
_PAYMENT: Final = _Signed(
    "order_id",
    status_code=_STATUS_CODE,
    gross_amount=r"(?:0|[1-9][0-9]*)(?:\.[0-9]{1,2})?",
)
# A word between the two ids keeps a payment's signature, which ends in digits, from fitting here.
_ACCOUNT: Final = _Signed("account_id", account_status="[A-Za-z_]+", status_code=_STATUS_CODE)
_DIGITS: Final = "0123456789"
_ACCOUNT_STATUSES = ("PENDING", "ENABLED", "DISABLED", "EXPIRED")

# In digits: a status code and the first digit of an amount, which begins with 0 only when it is 0.
_SPLIT = re.compile(r"(?=[2-5][0-9]{2}(?:[1-9]|0\Z))")

#: The status code of what is paid, and statuses of what is not.
_PAID_CODE: Final = "200"
_UNPAID: Final = frozenset({"authorize", "cancel", "deny", "expire", "failure", "pending"})

#: What the event key holds of a payment; what people ask for it by.
_NAMED = ("order_id", "transaction_id", "transaction_status", "status_code", "fraud_status")
_REFERENCES: Final = ("order_id", "transaction_id", "account_id")
_UNSIGNED_STATE: Final = ("transaction_status", "fraud_status")

_TEST_PREFIX = "payment_notif_test_"
_REFUND_IDS = (
    "refund_chargeback_id",
    "refund_chargeback_uuid",
    "refund_key",
    "bank_confirmed_at",
)
_REFUND_FIELDS: Final = frozenset(("refund_amount", "refunds", *_REFUND_IDS))


# Any key may be added to a body, since three values alone are signed. Many readers (Go's, and those
# of .NET) mind no case, and the last of such keys wins: an `Order_Id` would be another order.
# These are the usual ones besides refunds.
_USUAL: Final = frozenset(
    (
        *(*_PAYMENT.names, *_NAMED, "currency", "signature_key", "merchant_id", "payment_type"),
        *("transaction_time", "settlement_time", "expiry_time", "status_message", "issuer"),
        *("acquirer", "va_numbers", "payment_amounts", "permata_va_number", "bank", "store"),
        *("biller_code", "bill_key", "payment_code", "masked_card", "card_type", "eci"),
        *("approval_code", "channel_response_code", "channel_response_message", "reference_id"),
    )
)
_READ: Final = frozenset(
    (*_PAYMENT.names, *_ACCOUNT.names, *_NAMED, *_REFUND_FIELDS, "currency", "signature_key")
)


def _check_spelling(message: JsonObject) -> None:
    """Refuse a message with a field that is read here under a name in other letters."""
    for name in message:
        if name not in _READ and name.casefold() in _READ:
            detail = f"{name} is another spelling of {name.casefold()}"
            raise Refusal(Reason.FIELD_INVALID, detail)


class _MidtransInspector(FieldsAsReferences, PlainAnswers):
    signs_query = False
    names = _REFERENCES
    methods = INFO.methods

    def __init__(self, secrets: tuple[Secret, ...], order_ids: LinearPattern | None) -> None:
        self._digest = Digest("sha512", secrets) if secrets else None
        self._order_ids = order_ids

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        message = strict_json.parse_object(delivery.body, delivery.json_limits)
        usual = _USUAL.issuperset(message)
        if not usual or media_type.USUAL not in delivery.head.headers.fields:
            _check_spelling(message)
            # A second Content-Type is refused by the edge.
            media_type.check_json(delivery.head.headers)
        if "account_id" in message and "order_id" not in message:
            return self._verify_account(message, on_signed)
        secret, fields, covered = self._verify_signature(message, _PAYMENT, on_signed)
        named: list[Any] = [*map(message.get, _NAMED)]
        if not _TEXT_ALONE.issuperset(map(type, named)):
            named = [*map(_text, named)]
        order_id, transaction, status, code, fraud = named
        if self._order_ids is not None and not self._order_ids.fullmatch(order_id):
            raise Refusal(Reason.FIELD_INVALID, "order_id does not match order_id_pattern")
        status = status.lower()
        state = (transaction or order_id, status, code, fraud)
        if not usual and not _REFUND_FIELDS.isdisjoint(message):
            state += _refunds(message)
        # No part of what is spelled holds a colon.
        order, spelled, rest = ids.spell(order_id, *state).split(":", 2)
        # The order is signed, and the transaction is not: one that another order claims is another
        # subject, which holds up nothing of this one.
        subject = f"{spelled}:{order}" if transaction else order or None
        key = f"{spelled}:{rest}"
        if subject is None:
            key = ids.of_digest(delivery.body_sha256)
        # The code is signed, and the status is not.
        replay = hold = None
        if fields and status not in _UNPAID:
            if code != _PAID_CODE:
                hold = _contradiction(*map(_compared, map(message.get, _UNSIGNED_STATE)))
            elif status == "settlement" or _contradiction(status, fraud) is not None:
                replay = covered
        # By position, which takes half the time.
        return Verification(
            key,
            message,
            replay,
            _PAYMENT.names if fields else (),
            bool(fields) and self._is_ambiguous(*fields),
            secret,
            subject,
            status == "pending",
            order_id.startswith(_TEST_PREFIX),
            OnConflict.DELIVER,
            OnReplay.CONFLICT,
            hold,
            named=(message, _REFERENCES),
        )

    def _verify_account(self, message: JsonObject, on_signed: OnSigned) -> Verification:
        secret, fields, _ = self._verify_signature(message, _ACCOUNT, on_signed)
        account, status, code = (_text(message.get(name)) for name in _ACCOUNT.names)
        content = strict_json.content_digest(message)
        shifted = (word for word in _ACCOUNT_STATUSES if word != status)
        return Verification(
            # An account is enabled and disabled more than once, and no published field says when:
            # whatever differs makes another event, and only an exact copy counts as a repeat.
            key=ids.spell(account, status, code, content.hex()[:32]),
            said=content,
            signed=_ACCOUNT.names if fields else (),
            ambiguous=bool(fields) and any((account + status).endswith(word) for word in shifted),
            secret=secret,
            subject=ids.spell(account) if account else None,
            named=(message, _REFERENCES),
        )

    def _verify_signature(
        self, message: JsonObject, signed: _Signed, on_signed: OnSigned
    ) -> tuple[int | None, list[Any], bytes]:
        """Return the position of the secret, the signed values and both joined.

        None, and nothing, when unsigned.
        """
        if self._digest is None:
            return None, [], b""
        signature = message.get("signature_key")
        if not isinstance(signature, str) or not signature:
            raise Refusal(Reason.SIGNATURE_MISSING, _unsigned(message))
        values: list[Any] = [*map(message.get, signed.names)]
        if (
            not _TEXT_ALONE.issuperset(map(type, values))
            or not values[0]
            or not signed.match("\0".join(values[1:]))
        ):
            raise signed.refusal(message)
        covered = "".join(values).encode()
        if on_signed is not ignore_signed:
            on_signed(SignedText((covered, None), signature))
        return self._digest.verify(covered, signature), values, covered

    def _is_ambiguous(self, order_id: str, status_code: str, amount: str) -> bool:
        """Tell whether the joined text is also that of another order id, status code and amount.

        Another split moves digits alone: all that follows its order id stands in the digits at the
        end of the text, apart from the cents, which stay with the amount.
        """
        text = order_id + status_code + amount.partition(".")[0]
        # An order id is not empty.
        first = len(text.rstrip(_DIGITS)) or 1
        if self._order_ids is None:
            return len(_SPLIT.findall(text, first)) > 1
        splits = (split.start() for split in _SPLIT.finditer(text, first))
        # Longer order ids match no pattern. Without this, long digits are read again and again.
        possible = takewhile(lambda end: end <= MAX_TEXT, splits)
        return any(
            end != len(order_id) and self._order_ids.fullmatch(text[:end]) for end in possible
        )


def _unsigned(message: JsonObject) -> str:
    """Return what to say of a message without a signature; of one about a subscription, what to do.

    Those have neither signature nor order (docs.midtrans.com, "Recurring notification").
    """
    said = "signature_key is missing, empty or no string"
    if "order_id" in message or "schedule" not in message:
        return said
    return f"{said}; Midtrans signs nothing about subscriptions: give them an unsigned endpoint"


def _contradiction(status: str, fraud: str) -> str | None:
    """Return the reason to hold a payment whose code is not that of one that is paid.

    Only where its status says that it is: as a reader may take it who minds neither case nor
    blanks. Many leave out the fraud status of what was accepted.
    """
    said = status.strip().casefold()
    accepted = fraud.strip().casefold() in {"", "accept"}
    paid = said == "settlement" or (said == "capture" and accepted)
    return STATUS_CONTRADICTS_CODE if paid else None


def _compared(value: JsonValue) -> str:
    """Return what a lenient reader compares: to JavaScript's `==`, `["accept"]` is `accept`."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _text(value)


def _text(value: JsonValue) -> str:
    """Return a field as text, any other value by its digest, so that events stay distinct."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    text = strict_json.number_text(value)
    return strict_json.content_digest(value).hex() if text is None else text


def _refunds(message: JsonObject) -> tuple[str, ...]:
    """Return a digest that identifies the state of refunds; nothing without refunds."""
    found: JsonObject = {
        name: message[name] for name in ("refund_amount", *_REFUND_IDS) if name in message
    }
    if "refunds" in message:
        listed = message["refunds"]
        entries = listed if isinstance(listed, list) else [listed]
        # The order of the list says nothing, and a repeated entry is the same refund.
        found["refunds"] = [*sorted({_refund(entry) for entry in entries})]
    return (strict_json.content_digest(found).hex()[:32],) if found else ()


def _refund(entry: JsonValue) -> str:
    known: JsonObject = {}
    if isinstance(entry, dict):
        known = {name: entry[name] for name in _REFUND_IDS if name in entry}
    return strict_json.content_digest(known or entry).hex()


class _Midtrans:
    info = INFO

    def bind(self, options: EndpointOptions) -> Inspector:
        for position, secret in enumerate(options.secrets):
            # Under an empty key anybody could sign.
            if not secret.reveal().strip():
                raise ValueError(f"secrets.{position}: is empty; give the server key")
        if options.partner_id is not None:
            raise ValueError("partner_id: only midtrans-snap sends one; leave it out")
        if options.merchant_id is not None:
            raise ValueError("merchant_id: Midtrans does not sign it here; leave it out")
        if options.secrets:
            check_signed(options.must, _PAYMENT.names)
        inspector = _MidtransInspector(options.secrets, _compiled(options.order_id_pattern))
        return requiring(inspector, options.must)

    def sample(self, order: SampleOrder) -> Sample:
        message = _sample_message(order)
        covered = "".join(message[name] for name in _PAYMENT.names)
        signed = covered.encode() + order.secret.reveal()
        message["signature_key"] = hashlib.sha512(signed).hexdigest()
        headers = (
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
            ("User-Agent", "Veritrans"),
        )
        return Sample("POST", "", Headers(headers), json.dumps(message).encode())


def _compiled(pattern: str | None) -> LinearPattern | None:
    if pattern is None:
        return None
    try:
        return LinearPattern(pattern)
    except ValueError as error:
        raise ValueError(f"order_id_pattern: not a regular expression of RE2: {error}") from None


_CODES = {"pending": "201", "deny": "202", "expire": "407"}
_JAKARTA = timezone(timedelta(hours=7))


def _sample_message(order: SampleOrder) -> dict[str, str]:
    if "signature_key" in order.changes:
        raise ValueError("signature_key: cannot be set; it is computed from the other fields")
    status = order.changes.get("transaction_status", "settlement")
    at = order.at.astimezone(_JAKARTA).strftime("%Y-%m-%d %H:%M:%S")
    return {
        "transaction_time": at,
        "transaction_status": status,
        "transaction_id": str(uuid4()),
        "status_message": "midtrans payment notification",
        "status_code": _CODES.get(status, "200"),
        "payment_type": "bank_transfer",
        # An id that ended in digits could be ambiguous by chance.
        "order_id": f"relay-{token_hex(8)}-sample",
        "merchant_id": "M004123",
        "gross_amount": "10000.00",
        "fraud_status": "accept",
        "currency": "IDR",
        **order.changes,
    }


PROVIDER: Final[Provider] = _Midtrans()
