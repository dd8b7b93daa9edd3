"""Midtrans BI-SNAP: payment notifications for GoPay, QRIS and bank transfers (VA), linked accounts.

Midtrans is given one URL prefix and appends a path to it. The signature covers the method, that
path, the body and X-TIMESTAMP; it covers neither X-EXTERNAL-ID, which tells one message from the
next, nor X-PARTNER-ID. Midtrans takes exactly 200 for success, and tries again five times over
5 h 42 min after anything else.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from secrets import randbelow
from types import MappingProxyType
from typing import Final, NoReturn

from relay.core import ids, strict_json
from relay.core.errors import Reason, Refusal
from relay.core.request import Delivery, Headers, OnConflict, References, Verification, references
from relay.core.strict_json import JsonObject, JsonValue, minify
from relay.providers import (
    AddressList,
    EndpointOptions,
    Environment,
    Inspector,
    Provider,
    ProviderInfo,
    RequestShape,
    Sample,
    SampleOrder,
    Window,
)
from relay.providers.midtrans import snap_messages
from relay.providers.midtrans.snap_messages import (
    CHANNEL,
    EXTERNAL,
    JAKARTA,
    PARTNER,
    QRIS,
    SERVICES,
    SIGNATURE,
    TIMESTAMP,
    TOKENS,
    stamp,
)
from relay.providers.references import parsed_if_small
from relay.providers.required_fields import requiring
from relay.signatures import (
    OnSigned,
    SignedText,
    ignore_signed,
)
from relay.signatures.public_key import Rsa, UnusableKey, sign_rsa

# Retries reach 5 h 42 min, and nobody says whether one is stamped anew.
_WINDOW: Final = Window(past=timedelta(hours=24), future=timedelta(minutes=5))

# The page has no date of its own: this is the day it was read.
_ORIGIN = "Midtrans, Payment Notification API, 2026-11-21"
# fmt: off
_STAGING = (
    "3.1.141.98", "52.76.190.190", "13.251.192.204", "8.215.39.156", "8.215.77.79",
    "147.139.213.119", "8.215.56.11", "8.215.39.87", "8.215.42.0", "8.215.59.158",
    "149.129.222.246", "8.215.26.108", "8.215.13.84",
)
_SANDBOX = (
    "34.142.147.133", "34.142.169.131", "34.142.231.22", "35.240.161.215", "34.142.227.232",
    "34.124.184.175", "35.197.130.2", "34.142.233.114", "8.215.26.211", "8.215.22.135",
    "8.215.93.92", "8.215.93.214", "8.215.93.76", "8.215.33.37", "8.215.26.148",
    "8.215.194.225", "8.215.12.199", "149.129.255.111",
)
_PRODUCTION = (
    "13.228.166.126", "52.220.80.5", "3.1.123.95", "8.215.30.222", "147.139.209.49",
    "8.215.32.142", "147.139.163.77", "8.215.25.24", "8.215.3.193", "147.139.210.20",
    "149.129.238.95", "8.215.9.206", "147.139.134.22",
)
# fmt: on

INFO: Final = ProviderInfo(
    name="midtrans-snap",
    title="Midtrans BI-SNAP payment notification",
    environments={
        "production": Environment(listings=(AddressList(_ORIGIN, _PRODUCTION),)),
        "sandbox": Environment(listings=(AddressList(_ORIGIN, _SANDBOX),)),
        "staging": Environment(listings=(AddressList(_ORIGIN, _STAGING),)),
    },
    methods=("POST",),
    secrets="the public key that Midtrans shared, in PEM or the Base64 of it",
    signature=(
        "RSA (PKCS#1 v1.5) with SHA-256 in Base64, in X-SIGNATURE, of {method}:{path_query}:"
        "{sha256_hex:minified_body}:{header:X-TIMESTAMP}; the path is what Midtrans appends to"
        " the prefix, or the whole one"
    ),
    event_key=(
        "the service, X-EXTERNAL-ID and the calendar day of X-TIMESTAMP in Jakarta; the same"
        " content under another id is the same event"
    ),
    answers=(
        "200 and responseCode 200xx00 (xx is 56 for debit, 52 for QRIS, 25 for VA, 88 for a linked"
        " account); Midtrans tries again five times over 5 h 42 min after any other status, and"
        " three times within 140 ms where an account was linked"
    ),
    document="https://docs.midtrans.com/reference/payment-notification-api",
    reviewed=date(2026, 11, 21),
    shapes=tuple(RequestShape("POST", path, tokens=TOKENS.get(path, ())) for path in SERVICES),
    headers=(TIMESTAMP, SIGNATURE, PARTNER, EXTERNAL, CHANNEL),
    window=_WINDOW,
)

_SIGNED = ("body",)
#: The names of header fields, as their index has them.
_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {name: name.lower() for name in (TIMESTAMP, SIGNATURE, PARTNER, EXTERNAL)}
)
#: Signed times that are remembered with what they say; a sender's clock gives few at a time.
_TIMES: Final = 256
_TIME = re.compile(
    # `fromisoformat` reads an offset of +06:60 as +07:00.
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?"
    r"(?:Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)",
    re.ASCII,
)
# "Numeric" by the documentation, but letters are seen too, and 20 digits are no number to keep.
_ID = re.compile(r"[ -~]{1,64}")
_URL = re.compile(r"https?://[^/?#\s]+(?P<path>(?:/[!-\"$->@-~]*)?)", re.ASCII)
_WRITE_URL = "write the public form of the prefix, such as https://pay.example.com/snap"

_SUBJECTS = ("originalReferenceNo", "trxId", "paymentRequestId")
_ACCOUNT: Final = "virtualAccountNo"
_REFERENCES: Final = ("originalPartnerReferenceNo", *_SUBJECTS, _ACCOUNT)
_INITIAL_STATUSES = frozenset({"01", "02", "03"})  # initiated, paying, pending


class _SnapInspector:
    signs_query = True
    answer = staticmethod(snap_messages.answer)
    proxied_answer = staticmethod(snap_messages.proxied_answer)

    def __init__(
        self,
        rsa: Rsa | None,
        prefix: str | None,
        window: Window,
        partner_id: str | None,
        merchant_id: str | None,
    ) -> None:
        self._rsa = rsa
        self._prefix = prefix
        self._window = window
        self._partner_id = partner_id
        self._merchant_id = merchant_id

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        headers = delivery.head.headers
        signed_at = headers.single(_KEYS[TIMESTAMP]) or _missing(
            TIMESTAMP, Reason.SIGNATURE_MISSING
        )
        if self._partner_id is not None:
            self._check_partner(self._partner_id, headers)
        secret, day = self._verify_signature(delivery, signed_at, on_signed)
        message = strict_json.parse_object(delivery.body, delivery.json_limits)
        if self._merchant_id is not None and self._merchant_id not in _merchants(message):
            raise Refusal(Reason.FIELD_FOREIGN, "the merchant that it names is not merchant_id")
        content = strict_json.content_digest(message)
        # Nothing says that the three services count their ids together.
        service = SERVICES.get(delivery.remainder, "00")
        # Of most paths it is quicker than to ask for what they have.
        tokens = TOKENS[delivery.remainder] if delivery.remainder in TOKENS else ()  # noqa: SIM401
        subject = _account(message) if tokens else _subject(message)
        return Verification(
            key=ids.spell(service, _external_id(headers), day),
            said=content,
            # An account is linked again in the words of the time before.
            replay_digest=_replay_digest(service, None if tokens else subject, content, signed_at),
            signed=_SIGNED if secret is not None else (),
            secret=secret,
            subject=subject,
            is_initial=_status(message) in _INITIAL_STATUSES,
            # One id on one day means one message: Midtrans is told when it does not.
            on_conflict=OnConflict.REFUSE,
            tokens=tokens,
            named=(_trimmed(message) if _ACCOUNT in message else message, _REFERENCES),
        )

    def references(self, delivery: Delivery) -> References:
        return references(_trimmed(parsed_if_small(delivery)), _REFERENCES)

    @staticmethod
    def _check_partner(partner_id: str, headers: Headers) -> None:
        found = headers.single(_KEYS[PARTNER]) or _missing(PARTNER, Reason.SIGNATURE_MISSING)
        if found != partner_id:
            raise Refusal(Reason.SIGNATURE_MISMATCH, f"{PARTNER} is not partner_id")

    def _verify_signature(
        self, delivery: Delivery, signed_at: str, on_signed: OnSigned
    ) -> tuple[int | None, str]:
        """Return the position of the key, None when unsigned, and the day of the signed time."""
        if self._rsa is None:
            return None, _parse_time(signed_at)[1]
        signature = delivery.head.headers.single(_KEYS[SIGNATURE]) or _missing(
            SIGNATURE, Reason.SIGNATURE_MISSING
        )
        # Reading the time costs nothing, a signature does.
        at, day = _parse_time(signed_at)
        refusal = None
        for text in self._candidates(delivery, signed_at):
            if on_signed is not ignore_signed:
                on_signed(SignedText((text,), signature))
            try:
                position = self._rsa.verify(text, signature)
            except Refusal as error:
                refusal = error
            else:
                _check_age(delivery.head.received_at - at, self._window)
                return position, day
        raise refusal or Refusal(Reason.SIGNATURE_MISMATCH)

    def _candidates(self, delivery: Delivery, signed_at: str) -> Iterator[bytes]:
        """Yield the texts that may have been signed, at most six, the likeliest first.

        The documentation's `EndpointUrl` is the appended path in Midtrans' own samples, and the
        whole path of the merchant in messages of other SNAP services. Its `minify` is not defined;
        gateways are seen to send what they signed, so the received bytes go first.
        """
        head = delivery.head
        appended = delivery.remainder + head.query
        public = appended if self._prefix is None else self._prefix + appended
        digest = delivery.body_sha256.hex()
        yield _string_to_sign(head.method, public, digest, signed_at)
        paths = tuple(dict.fromkeys((public, appended, head.target)))
        for path in paths[1:]:
            yield _string_to_sign(head.method, path, digest, signed_at)
        minified = minify(delivery.body)
        if minified != delivery.body:
            digest = hashlib.sha256(minified).hexdigest()
            for path in paths:
                yield _string_to_sign(head.method, path, digest, signed_at)


def _string_to_sign(method: str, path: str, digest: str, signed_at: str) -> bytes:
    try:
        return f"{method}:{path}:{digest}:{signed_at}".encode("ascii")
    except UnicodeEncodeError:
        raise Refusal(Reason.SIGNATURE_MISMATCH, "something signed is not ASCII") from None


def _missing(name: str, reason: Reason) -> NoReturn:
    raise Refusal(reason, f"{name} is not there exactly once")


def _external_id(headers: Headers) -> str:
    found = headers.single(_KEYS[EXTERNAL]) or _missing(EXTERNAL, Reason.FIELD_INVALID)
    if not _ID.fullmatch(found):
        raise Refusal(Reason.FIELD_INVALID, f"{EXTERNAL} is not 1 to 64 printable characters")
    return found


@lru_cache(maxsize=_TIMES)
def _parse_time(text: str) -> tuple[datetime, str]:
    """Parse X-TIMESTAMP; return it, and its calendar day in Jakarta: a part of the event key."""
    if _TIME.fullmatch(text):
        try:
            at = datetime.fromisoformat(text).astimezone(JAKARTA)
            return at, at.date().isoformat()
        except (ValueError, OverflowError):
            pass
    raise Refusal(Reason.TIMESTAMP_INVALID, f"{TIMESTAMP} is not ISO 8601 with an offset")


def _check_age(age: timedelta, window: Window) -> None:
    if window.past is not None and age > window.past:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"{TIMESTAMP} is {age} old")
    if window.future is not None and -age > window.future:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"{TIMESTAMP} is {-age} ahead")


def _replay_digest(service: str, subject: str | None, content: bytes, signed_at: str) -> bytes:
    """Return a digest of one message that does not depend on its X-EXTERNAL-ID.

    That header is not signed: whoever has seen a message could send it again under new ids. Nor
    is it said whether a retry of Midtrans keeps it. What names a payment and says the same of it
    is the same message; what names none has to be of the same time as well.
    """
    named = "" if subject is not None else signed_at
    return hashlib.sha256(f"{service}\n{named}\n".encode() + content).digest()


def _subject(message: JsonObject) -> str | None:
    for name in _SUBJECTS:
        value = message[name] if name in message else None  # noqa: SIM401 - as with tokens
        if type(value) is str and value:
            return ids.spell(value)
    return None


def _trimmed(message: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return a message with the account number that people know: it is padded with blanks."""
    padded = message.get(_ACCOUNT)
    return {**message, _ACCOUNT: padded.strip(" ")} if isinstance(padded, str) else message


def _account(message: JsonObject) -> str | None:
    """Return what a linked account is known by: nothing in its message names it but its token."""
    more = message.get("additionalInfo")
    token = more.get("accessToken") if isinstance(more, dict) else None
    if not isinstance(token, str) or not token:
        return None
    return ids.spell("account", hashlib.sha256(token.encode()).hexdigest()[:32])


def _merchants(message: JsonObject) -> Iterator[str]:
    """Yield what names the merchant: its id, and of a virtual account its service.

    The id further in counts where there is none at the top: a merchant writes some of what is
    there. The service is padded with blanks to eight characters. Messages of QRIS name no merchant
    in the documentation, and those of GoPay need not.
    """
    more = message.get("additionalInfo")
    named = message.get("merchantId")
    if not named and isinstance(more, dict):
        named = more.get("merchantId")
    if isinstance(named, str):
        yield named
    service = message.get("partnerServiceId")
    if isinstance(service, str):
        yield service.strip(" ")


def _status(message: JsonObject) -> str | None:
    more = message.get("additionalInfo")
    flag = more.get("paymentFlagStatus") if isinstance(more, dict) else None
    status = message.get("latestTransactionStatus") if flag is None else flag
    return status if isinstance(status, str) else None


class _MidtransSnap:
    info = INFO

    def bind(self, options: EndpointOptions) -> Inspector:
        try:
            rsa = Rsa(options.secrets) if options.secrets else None
        except UnusableKey as error:
            raise ValueError(f"secrets.{error.position}: {error}") from None
        if options.order_id_pattern is not None:
            raise ValueError("order_id_pattern: only midtrans has one; leave it out")
        if options.callback is not None:
            raise ValueError("callback: only vipps-callback has one; leave it out")
        prefix = None if options.public_url is None else _public_prefix(options.public_url)
        window = options.window or _WINDOW
        inspector = _SnapInspector(rsa, prefix, window, options.partner_id, options.merchant_id)
        return requiring(inspector, options.must)

    def sample(self, order: SampleOrder) -> Sample:
        changes = dict(order.changes)
        path = changes.pop("path", QRIS)
        fresh = {PARTNER: "G12345678", EXTERNAL: f"{randbelow(10**20):020}", CHANNEL: "12345"}
        chosen = {name: changes.pop(name, value) for name, value in fresh.items()}
        message = snap_messages.message(path, order.at, changes)
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        signed_at = stamp(order.at)
        signed = _string_to_sign("POST", path, hashlib.sha256(body).hexdigest(), signed_at)
        headers = (
            ("Content-Type", "application/json"),
            (TIMESTAMP, signed_at),
            (SIGNATURE, sign_rsa(order.secret, signed)),
            *chosen.items(),
        )
        return Sample("POST", path, Headers(headers), body)


def _public_prefix(url: str) -> str:
    """Return the path of a public prefix, without a trailing slash."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f"public_url: {_WRITE_URL}")
    prefix = found["path"].rstrip("/")
    if prefix.endswith(tuple(SERVICES)):
        raise ValueError(f"public_url: Midtrans appends /v1.0/… itself; {_WRITE_URL}")
    return prefix


PROVIDER: Final[Provider] = _MidtransSnap()
