"""Vipps MobilePay: the callbacks that carry a token (eCom, Checkout, Express).

The merchant hands Vipps a token with each payment, and Vipps sends it back as the whole value of
Authorization. It authenticates the sender. It covers neither the body nor the order id nor a time,
so nothing counts as signed here, and anyone who has read one message could forge others. The token
is compared and not stored, shown or forwarded.

eCom appends to the prefix that it was given, which therefore ends without a slash. It calls with a
transaction once, waits three seconds and never tries again.

A removed consent concerns a user and no order. Vipps documents the token for what concerns an
order, and nothing for this. Refusing such messages would lose what the law wants done, as they are
not sent again; accepting them from any address would let anyone have data erased. So a removal is
accepted without a token where addresses are enforced, and nowhere else. If Authorization is there,
it is verified.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, timedelta
from secrets import randbelow
from types import MappingProxyType
from typing import Final
from uuid import uuid4

from relay.core import ids, strict_json
from relay.core.errors import Reason, Refusal
from relay.core.request import (
    Ack,
    Delivery,
    Headers,
    IngestResult,
    References,
    Verification,
    references,
)
from relay.core.secret import Secret
from relay.core.strict_json import JsonObject
from relay.providers import (
    AnswerContext,
    EndpointOptions,
    Inspector,
    Provider,
    ProviderInfo,
    RequestShape,
    Sample,
    SampleOrder,
)
from relay.providers.answers import PlainAnswers, plain_answer
from relay.providers.references import parsed_if_small
from relay.providers.required_fields import requiring
from relay.providers.vipps import ENVIRONMENTS
from relay.signatures import (
    OnSigned,
    ignore_signed,
)
from relay.signatures.shared_secret import Token

_AUTHORIZATION = "Authorization"
_CONSENTS = "/v2/consents/"
# What a header field can carry: a parser drops blanks around it (RFC 9110, 5.5).
_TOKEN = re.compile(rb"[!-~\x80-\xff](?:[ -~\x80-\xff]*[!-~\x80-\xff])?")

INFO: Final = ProviderInfo(
    name="vipps-callback",
    title="Vipps MobilePay callbacks with a token (eCom, Checkout, Express)",
    environments=ENVIRONMENTS,
    methods=("POST", "DELETE"),
    secrets=(
        "the token handed to Vipps with each payment (eCom: authToken; Checkout and Express:"
        " callbackAuthorizationToken), the same one for all, as text"
    ),
    signature=(
        "no signature: Authorization is the token and nothing else, and covers nothing. Where the"
        " allowlist is enforced, the removal of a consent may come without it"
    ),
    event_key=(
        "orderId, transactionInfo.status and transactionInfo.transactionId; for Checkout reference"
        " and sessionState; for a removed consent its userId and the time; the SHA-256 of the body"
        " for messages without them"
    ),
    answers=(
        "200 OK; an eCom transaction is sent once, and lost unless it is answered within 3 s."
        " Shipping details and Express want the upstream's own answer"
    ),
    document="https://developer.vippsmobilepay.com/docs/APIs/ecom-api/vipps-ecom-api/",
    reviewed=date(2026, 11, 21),
    # An eCom transaction is sent once and given 3 s; a second of them is the network's.
    answer_deadline=timedelta(seconds=2),
    shapes=(
        RequestShape("POST", "/v2/payments/{orderId}"),
        RequestShape("POST", "/v2/payments/{orderId}/shippingDetails", proxied=True),
        RequestShape("DELETE", _CONSENTS + "{userId}"),
    ),
    callbacks=MappingProxyType(
        {"checkout": RequestShape("POST", ""), "express": RequestShape("POST", "", proxied=True)}
    ),
    token=True,
)


class _CallbackInspector(PlainAnswers):
    signs_query = False

    def __init__(self, options: EndpointOptions) -> None:
        self._token = Token(options.secrets) if options.secrets else None
        self._product = options.callback is not None
        self._enforced = options.enforced

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:  # noqa: ARG002 - nothing is signed
        if self._product:
            return self._verify_session(delivery)
        match (delivery.head.method, *delivery.remainder.split("/")):
            case ("POST", "", "v2", "payments", order_id):
                return self._verify_transaction(delivery, order_id)
            case ("POST", "", "v2", "payments", order_id, "shippingDetails"):
                return self._verify_shipping(delivery, order_id)
            case ("DELETE", "", "v2", "consents", user_id):
                return self._verify_consent(delivery, user_id)
        raise Refusal(Reason.UNKNOWN_ENDPOINT)

    def references(self, delivery: Delivery) -> References:
        if self._product:
            return references(parsed_if_small(delivery), ("reference",))
        match delivery.remainder.split("/"):
            case ("", "v2", "payments", order_id, *_):
                return references({"orderId": order_id}, ("orderId",))
            case ("", "v2", "consents", user_id):
                return references({"userId": user_id}, ("userId",))
        return ()

    def answer(self, result: IngestResult, context: AnswerContext) -> Ack:
        consent = context.remainder.startswith(_CONSENTS)
        return plain_answer(result, ("DELETE" if consent else "POST",))

    def _verify_transaction(self, delivery: Delivery, order_id: str) -> Verification:
        secret = self._verify_token(delivery)
        message = _parse_for_order(order_id, delivery)
        info = message.get("transactionInfo")
        identity = _texts(info, "status", "transactionId") if isinstance(info, dict) else None
        order = ids.spell(order_id)
        state = ids.of_digest(delivery.body_sha256) if identity is None else ids.spell(*identity)
        return Verification(
            key=f"{order}:{state}",
            said=message,
            secret=secret,
            subject=order,
            named=({"orderId": order_id}, ("orderId",)),
        )

    def _verify_shipping(self, delivery: Delivery, order_id: str) -> Verification:
        secret = self._verify_token(delivery)
        message = _parse_for_order(order_id, delivery)
        order = ids.spell(order_id)
        return Verification(
            # Two orders may go to one address, and a customer may ask for several.
            key=f"{order}:shippingDetails:{ids.of_digest(delivery.body_sha256)}",
            said=message,
            secret=secret,
            subject=order,
            named=({"orderId": order_id}, ("orderId",)),
        )

    def _verify_consent(self, delivery: Delivery, user_id: str) -> Verification:
        excused = self._enforced and not delivery.head.headers.values(_AUTHORIZATION)
        secret = None if excused else self._verify_token(delivery)
        if delivery.body:
            raise Refusal(Reason.BODY_MALFORMED, "the removal of a consent has no body")
        removed = ids.spell("consent", user_id)
        at = delivery.head.received_at.astimezone(UTC)
        return Verification(
            # A user may consent again and remove it again, in the same words. To remove twice
            # does no harm; to take the second for a repeat would lose it.
            key=f"{removed}:{at:%Y%m%dT%H%M%S.%fZ}",
            said=delivery.body_sha256,
            secret=secret,
            subject=removed,
            named=({"userId": user_id}, ("userId",)),
        )

    def _verify_session(self, delivery: Delivery) -> Verification:
        """Verify a session of Checkout, or a request of Express."""
        secret = self._verify_token(delivery)
        message = strict_json.parse_object(delivery.body, delivery.json_limits)
        identity = _texts(message, "reference", "sessionState")
        reference = _texts(message, "reference")
        return Verification(
            key=ids.of_digest(delivery.body_sha256) if identity is None else ids.spell(*identity),
            said=message,
            secret=secret,
            subject=None if reference is None else ids.spell(*reference),
            named=(message, ("reference",)),
        )

    def _verify_token(self, delivery: Delivery) -> int | None:
        """Return the position of the secret that the token is; None without secrets."""
        if self._token is None:
            return None
        token = delivery.head.headers.single("authorization")
        if token is None:
            raise Refusal(Reason.SIGNATURE_MISSING, f"{_AUTHORIZATION} is not there exactly once")
        return self._token.verify(delivery.body, token)


def _parse_for_order(order_id: str, delivery: Delivery) -> JsonObject:
    """Parse the body, and check that it names no other order than the path."""
    message = strict_json.parse_object(delivery.body, delivery.json_limits)
    stated = message.get("orderId")
    if stated is not None and stated != order_id:
        raise Refusal(Reason.FIELD_INVALID, "orderId is not the one of the path")
    return message


def _texts(message: JsonObject, *names: str) -> tuple[str, ...] | None:
    """Return these fields when all of them are non-empty text, else None."""
    found = [value for name in names if isinstance(value := message.get(name), str) and value]
    return tuple(found) if len(found) == len(names) else None


class _VippsCallback:
    info = INFO

    def bind(self, options: EndpointOptions) -> Inspector:
        for position, secret in enumerate(options.secrets):
            _check_token(f"secrets.{position}", secret)
        if options.order_id_pattern is not None:
            raise ValueError("order_id_pattern: only midtrans signs an order id; leave it out")
        if options.partner_id is not None:
            raise ValueError("partner_id: Vipps sends none; leave it out")
        if options.merchant_id is not None:
            raise ValueError("merchant_id: Vipps signs none here; leave it out")
        if options.callback not in {None, *INFO.callbacks}:
            raise ValueError(f"callback: write one of {', '.join(INFO.callbacks)}")
        return requiring(_CallbackInspector(options), options.must)

    def sample(self, order: SampleOrder) -> Sample:
        """As `Provider.sample`; a change of `callback` chooses another kind of message."""
        changes = dict(order.changes)
        kind = changes.pop("callback", "transaction")
        if kind not in _SAMPLES:
            raise ValueError(f"callback: there are: {', '.join(_SAMPLES)}")
        return _SAMPLES[kind](order, changes)


def _check_token(place: str, secret: Secret) -> None:
    if not secret:
        raise ValueError(f"{place}: is empty; give the token that Vipps was handed")
    if not _TOKEN.fullmatch(secret.reveal()):
        raise ValueError(f"{place}: a header cannot carry blanks around it, or control characters")


# ---- samples --------------------------------------------------------------------------------

_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}")


def _post(order: SampleOrder, suffix: str, message: Mapping[str, object]) -> Sample:
    headers = (
        ("Content-Type", "application/json"),
        (_AUTHORIZATION, order.secret.reveal().decode("latin-1")),
    )
    return Sample(
        "POST", suffix, Headers(headers), json.dumps(message, separators=(",", ":")).encode()
    )


def _with_changes(usual: dict[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    for name, value in changes.items():
        if name not in usual:
            raise ValueError(f"{name}: cannot be set; there are: callback, {', '.join(usual)}")
        if name in {"orderId", "userId"} and not _SEGMENT.fullmatch(value):
            raise ValueError(f"{name}: write up to 64 letters, digits, dots, dashes, underscores")
    return {**usual, **changes}


def _new_order_id() -> str:
    return f"relay-sample-{uuid4()}"


def _transaction_sample(order: SampleOrder, changes: Mapping[str, str]) -> Sample:
    usual = {
        "orderId": _new_order_id(),
        "status": "RESERVED",
        "timeStamp": order.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "transactionId": f"{5_000_000_000 + randbelow(1_000_000_000)}",
    }
    fields = _with_changes(usual, changes)
    order_id = fields.pop("orderId")
    message = {
        "merchantSerialNumber": 123456,
        "orderId": order_id,
        "transactionInfo": {"amount": 49900, **fields},
    }
    return _post(order, f"/v2/payments/{order_id}", message)


def _shipping_sample(order: SampleOrder, changes: Mapping[str, str]) -> Sample:
    usual = {
        "orderId": _new_order_id(),
        "addressLine1": "Dronning Eufemias gate 42",
        "city": "OSLO",
        "country": "Norway",
        "postCode": "0191",
    }
    fields = _with_changes(usual, changes)
    suffix = f"/v2/payments/{fields.pop('orderId')}/shippingDetails"
    return _post(order, suffix, {"addressId": 3960, "addressLine2": None, **fields})


def _consent_sample(order: SampleOrder, changes: Mapping[str, str]) -> Sample:  # noqa: ARG001 - no token
    user_id = _with_changes({"userId": str(uuid4())}, changes)["userId"]
    return Sample("DELETE", _CONSENTS + user_id, Headers(), b"")


def _checkout_sample(order: SampleOrder, changes: Mapping[str, str]) -> Sample:
    usual = {
        "sessionId": uuid4().hex,
        "merchantSerialNumber": "123456",
        "reference": _new_order_id(),
        "sessionState": "PaymentSuccessful",
    }
    return _post(order, "", _with_changes(usual, changes))


def _express_sample(order: SampleOrder, changes: Mapping[str, str]) -> Sample:
    usual = {
        "reference": _new_order_id(),
        "streetAddress": "Dronning Eufemias gate 42",
        "city": "OSLO",
        "country": "NO",
        "postalCode": "0191",
    }
    return _post(order, "", _with_changes(usual, changes))


_SAMPLES: Final[Mapping[str, Callable[[SampleOrder, Mapping[str, str]], Sample]]] = (
    MappingProxyType(
        {
            "transaction": _transaction_sample,
            "shippingDetails": _shipping_sample,
            "consent": _consent_sample,
            "checkout": _checkout_sample,
            "express": _express_sample,
        }
    )
)


PROVIDER: Final[Provider] = _VippsCallback()
