"""Vipps MobilePay: the Webhooks API (ePayment, Recurring, Login, QR).

The signature covers the method, the registered URL's path, query and host, the date, and the
value of `x-ms-content-sha256`. It covers the body only by way of that value, so the hash of the
body is compared as well.

Vipps delivers the events of one payment in order and holds the rest back until a refused one is
taken, for seven days: a refusal delays every event behind it.
"""

import hashlib
import json
import re
from base64 import b64encode
from binascii import b2a_base64
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Any, Final, NoReturn
from uuid import uuid4

from relay.core import ids, strict_json
from relay.core.errors import Reason, Refusal
from relay.core.request import Delivery, Headers, Verification
from relay.core.secret import Secret
from relay.core.strict_json import JsonObject
from relay.core.urls import SignedUrl, signed_url
from relay.providers import (
    EndpointOptions,
    Inspector,
    Provider,
    ProviderInfo,
    Sample,
    SampleOrder,
    Window,
    received_url,
)
from relay.providers.answers import PlainAnswers
from relay.providers.references import FieldsAsReferences
from relay.providers.required_fields import requiring
from relay.providers.vipps import ENVIRONMENTS
from relay.signatures import (
    OnSigned,
    SignedText,
    ignore_signed,
)
from relay.signatures.shared_secret import Hmac

_DATE = "x-ms-date"
_CONTENT = "x-ms-content-sha256"
_AUTHORIZATION = "Authorization"
_SIGNED_HEADERS = f"SignedHeaders={_DATE};host;{_CONTENT}"
#: Dates that are remembered with the time they stand for; a sender's clock gives few at a time.
_DATES = 256
_RFC1123 = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", re.ASCII)
#: As the index of header fields has it.
_AUTHORIZATION_KEY = "authorization"
_SIGNED = ("body",)
_NAMED = ("msn", "pspReference", "name", "reference")
_REFERENCES: Final = ("reference", "pspReference", "agreementId", "chargeId")
_TEXT_ALONE: Final = frozenset({str})
# What events are about that are about no payment: charges and agreements (Recurring, Donations),
# log-ins that a merchant asks for, scans of a QR code. A charge is a subject of its own, beside its
# agreement; one that could not be created has no id.
_SUBJECTS: Final = {
    "charge": ("agreementId", "chargeId"),
    "agreement": ("agreementId",),
    "login": ("auth_req_id",),
    "qr": ("merchantQrId",),
}
_INITIAL_TYPES: Final = (
    "recurring.agreement-activated.v1",
    "recurring.charge-reserved.v1",
    "donations.agreement.started.v1",
)
_NOT_ASCII = "something signed is not ASCII"
_WRITE_URL = "write the URL registered at Vipps, such as https://pay.example.com/vipps"

# A retry may carry the date of the first attempt, and retries go on for seven days.
_WINDOW: Final = Window(past=timedelta(days=7), future=timedelta(minutes=5))

INFO: Final = ProviderInfo(
    name="vipps",
    title="Vipps MobilePay Webhooks API",
    environments=ENVIRONMENTS,
    methods=("POST",),
    secrets="the secret that each webhook registration returned, as text, not decoded",
    signature=(
        "HMAC-SHA256 in Base64, in Authorization, of {method}\\n{path_query}\\n"
        "{header:x-ms-date};{host};{header:x-ms-content-sha256}; "
        "x-ms-content-sha256 is {sha256_base64:body}"
    ),
    event_key="msn, pspReference and name; the SHA-256 of the body for events without them",
    answers="200 OK; Vipps tries again for seven days after anything else, or after 10 s",
    document=(
        "https://developer.vippsmobilepay.com/docs/APIs/webhooks-api/request-authentication/"
    ),
    reviewed=date(2026, 11, 21),
    headers=(_DATE, _CONTENT, _AUTHORIZATION, "Webhook-Id"),
    window=_WINDOW,
)


class _VippsInspector(FieldsAsReferences, PlainAnswers):
    signs_query = True
    names = _REFERENCES
    methods = INFO.methods

    def __init__(self, secrets: tuple[Secret, ...], url: SignedUrl | None, window: Window) -> None:
        self._hmac = Hmac("sha256", secrets, "base64") if secrets else None
        self._url = url
        self._window = window

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        secret = None
        if self._hmac is not None:
            secret = self._verify_signature(self._hmac, delivery, on_signed)
        message = strict_json.parse_object(delivery.body, delivery.json_limits)
        merchant, psp_reference, name, reference = _texts(message)
        # The reference would merge two partial captures of one payment; pspReference is the
        # event's own. No published id tells the events of agreements, charges and log-ins apart.
        if psp_reference and name:
            key = ids.spell(merchant, psp_reference, name)
        else:
            key = ids.of_digest(delivery.body_sha256)
        return Verification(
            key=key,
            said=message,
            signed=_SIGNED if secret is not None else (),
            secret=secret,
            subject=ids.spell(merchant, reference) if reference else _subject(message, merchant),
            is_initial=name == "CREATED" if name else message.get("eventType") in _INITIAL_TYPES,
            named=(message, _REFERENCES),
        )

    def _verify_signature(self, verifier: Hmac, delivery: Delivery, on_signed: OnSigned) -> int:
        head = delivery.head
        signed_at = head.headers.single(_DATE) or _missing(_DATE)
        content = head.headers.single(_CONTENT) or _missing(_CONTENT)
        authorization = head.headers.single(_AUTHORIZATION_KEY) or _missing(_AUTHORIZATION)
        signature = _signature(authorization)
        url = self._url or received_url(head)
        signed = _signed_text(head.method, url, signed_at, content)
        message = signed.encode("utf-8", "backslashreplace")
        if on_signed is not ignore_signed:
            on_signed(SignedText((message,), signature))
        # One that is not ASCII fits no hash in Base64.
        if not content.isascii():
            raise Refusal(Reason.SIGNATURE_MISMATCH, _NOT_ASCII)
        expected = b2a_base64(delivery.body_sha256, newline=False).decode("ascii")
        if not compare_digest(expected, content):
            raise Refusal(Reason.SIGNATURE_MISMATCH, f"{_CONTENT} does not fit the body")
        if not signed.isascii():
            raise Refusal(Reason.SIGNATURE_MISMATCH, _NOT_ASCII)
        position = verifier.verify(message, signature)
        _check_age(head.received_at - _parse_date(signed_at), self._window)
        return position


def _missing(name: str) -> NoReturn:
    raise Refusal(Reason.SIGNATURE_MISSING, f"{name} is not there exactly once")


def _signature(authorization: str) -> str:
    """Return the signature; the signed headers are fixed here, not chosen by the sender."""
    scheme, _, parameters = authorization.partition(" ")
    signed_headers, _, signature = parameters.partition("&Signature=")
    if scheme.upper() != "HMAC-SHA256" or signed_headers != _SIGNED_HEADERS:
        raise Refusal(
            Reason.SIGNATURE_MISMATCH, f"Authorization is not HMAC-SHA256 {_SIGNED_HEADERS}&…"
        )
    return signature


def _signed_text(method: str, url: SignedUrl, signed_at: str, content: str) -> str:
    return f"{method}\n{url.path_query}\n{signed_at};{url.host};{content}"


def _content_hash(body: bytes) -> str:
    return b64encode(hashlib.sha256(body).digest()).decode("ascii")


def _check_age(age: timedelta, window: Window) -> None:
    if window.past is not None and age > window.past:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"{_DATE} is {age} old")
    if window.future is not None and -age > window.future:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"{_DATE} is {-age} ahead")


@lru_cache(maxsize=_DATES)
def _parse_date(text: str) -> datetime:
    if _RFC1123.fullmatch(text):
        try:
            parsed = parsedate_to_datetime(text)
        except ValueError:
            pass
        else:
            # Writing it again finds a wrong day of the week, and months that do not exist.
            if format_datetime(parsed, usegmt=True) == text:
                return parsed
    raise Refusal(Reason.TIMESTAMP_INVALID, f"{_DATE} is not an RFC 1123 date in GMT")


def _texts(message: JsonObject) -> list[str]:
    """Return the fields of `_NAMED`, empty where they are no text."""
    values: list[Any] = [*map(message.get, _NAMED)]
    if _TEXT_ALONE.issuperset(map(type, values)):
        return values
    return [value if isinstance(value, str) else "" for value in values]


def _subject(message: JsonObject, merchant: str) -> str | None:
    """Return the subject of an event that names no payment; None where no field is known."""
    for kind, names in _SUBJECTS.items():
        values = [message.get(name) for name in names]
        texts = [value for value in values if isinstance(value, str) and value]
        if len(texts) == len(names):
            return ids.spell(merchant, kind, *texts)
    return None


class _Vipps:
    info = INFO

    def bind(self, options: EndpointOptions) -> Inspector:
        for position, secret in enumerate(options.secrets):
            if not secret.reveal().strip():
                raise ValueError(f"secrets.{position}: is empty; give the registration's secret")
        if options.order_id_pattern is not None:
            raise ValueError("order_id_pattern: Vipps has no order id; leave it out")
        if options.partner_id is not None:
            raise ValueError("partner_id: Vipps sends none; leave it out")
        if options.merchant_id is not None:
            raise ValueError("merchant_id: write must: [{json: /msn, is: …}] for Vipps")
        url = None if options.public_url is None else _public_url(options.public_url)
        inspector = _VippsInspector(options.secrets, url, options.window or _WINDOW)
        return requiring(inspector, options.must)

    def sample(self, order: SampleOrder) -> Sample:
        body = json.dumps(_sample_message(order), separators=(",", ":")).encode()
        signed_at = format_datetime(order.at.astimezone(UTC), usegmt=True)
        content = _content_hash(body)
        signed = _signed_text("POST", _public_url(order.url), signed_at, content)
        mac = hmac_digest(order.secret.reveal(), signed.encode("ascii"), "sha256")
        signature = b64encode(mac).decode("ascii")
        headers = (
            ("Content-Type", "application/json"),
            ("Webhook-Id", str(uuid4())),
            (_DATE, signed_at),
            (_CONTENT, content),
            (_AUTHORIZATION, f"HMAC-SHA256 {_SIGNED_HEADERS}&Signature={signature}"),
        )
        return Sample("POST", "", Headers(headers), body)


def _public_url(url: str) -> SignedUrl:
    try:
        return signed_url(url)
    except ValueError:
        raise ValueError(f"public_url: {_WRITE_URL}") from None


_CHANGEABLE = ("msn", "reference", "pspReference", "name", "timestamp", "idempotencyKey")


def _sample_message(order: SampleOrder) -> Mapping[str, object]:
    message: dict[str, object] = {
        "msn": "123456",
        "reference": f"relay-sample-{uuid4()}",
        "pspReference": uuid4().hex,
        "name": "AUTHORIZED",
        "amount": {"currency": "NOK", "value": 49900},
        "timestamp": order.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "idempotencyKey": str(uuid4()),
        "success": True,
    }
    for name, value in order.changes.items():
        if name not in _CHANGEABLE:
            raise ValueError(f"{name}: cannot be set; there are: {', '.join(_CHANGEABLE)}")
        message[name] = value
    return message


PROVIDER: Final[Provider] = _Vipps()
