"""Writers of Vipps MobilePay's messages: webhooks, and callbacks that carry a token."""

import hashlib
import hmac
import json
from base64 import b64encode
from random import Random
from typing import Final

from relay.core.secret import Secret
from relay.providers import EndpointOptions
from relay.providers.vipps import callbacks, webhooks
from tests.vectors.mutated import HOST, Message

# ---- webhooks ---------------------------------------------------------------------------------

_SECRET, _OTHER = "c2VjcmV0LW9mLXZpcHBz", "b3RoZXItb2YtdmlwcHM="
_URL: Final = "https://Public.example.com:8443/vipps?x=1"

_WEBHOOKS: Final = [
    webhooks.PROVIDER.bind(options)
    for options in (
        EndpointOptions(secrets=(Secret(_SECRET),)),
        EndpointOptions(secrets=(Secret(_SECRET),)),
        EndpointOptions(secrets=(Secret(_OTHER), Secret(_SECRET)), public_url=_URL),
        EndpointOptions(secrets=(Secret(_SECRET),), public_url=_URL),
        EndpointOptions(),
    )
]
_RECEIVED: Final = (HOST, "/hook?a=1")
_CONFIGURED: Final = ("public.example.com:8443", "/vipps?x=1")

_DATES: Final = (
    *["Mon, 05 Jan 2026 12:00:00 GMT"] * 8,
    *("Tue, 05 Jan 2026 12:00:00 GMT", "Mon, 29 Dec 2025 12:00:01 GMT"),
    *("Mon, 29 Dec 2025 12:00:00 GMT", "Mon, 05 Jan 2026 12:05:00 GMT"),
    *("Mon, 05 Jan 2026 12:05:01 GMT", "Mon, 05 Jan 2026 12:00:00 UTC", "Mon, 5 Jan 2026", ""),
    *("Fri, 31 Feb 2026 12:00:00 GMT", "Mon, 05 Jan 2026 25:00:00 GMT"),
)
_TEXTS: Final = ("", None, 5, "a:b", "é", "x" * 130)


def webhook(dice: Random) -> Message:
    """Write a message of the Webhooks API."""
    body = _json(dice, _event(dice))
    signed_at = dice.choice(_DATES)
    content = b64encode(hashlib.sha256(body).digest()).decode("ascii")
    host, path = dice.choice((_RECEIVED, _RECEIVED, _CONFIGURED))
    text = f"POST\n{path}\n{signed_at};{host};{content}".encode()
    signature = b64encode(hmac.digest(_SECRET.encode(), text, "sha256")).decode("ascii")
    scheme = dice.choice((*["HMAC-SHA256"] * 8, "hmac-sha256", "HMAC-SHA512"))
    covered = dice.choice((*["x-ms-date;host;x-ms-content-sha256"] * 9, "x-ms-date;host"))
    fields = [
        ("Content-Type", "application/json"),
        ("Webhook-Id", "1"),
        ("x-ms-date", signed_at),
        ("x-ms-content-sha256", content),
        ("Authorization", f"{scheme} SignedHeaders={covered}&Signature={signature}"),
    ]
    return Message(dice.choice(_WEBHOOKS), body, fields, _RECEIVED[1])


def _event(dice: Random) -> dict[str, object]:
    odd = dice.random() < 0.3
    fields: dict[str, object] = {
        "msn": dice.choice(_TEXTS) if odd else "123456",
        "reference": f"ref-{dice.randrange(9)}",
        "pspReference": dice.choice(_TEXTS) if odd else f"psp-{dice.randrange(99)}",
        "name": dice.choice(("CREATED", "AUTHORIZED", "CAPTURED", "")),
        "amount": {"currency": "NOK", "value": dice.choice((49900, 1.5, 10**20, "49900"))},
        "success": True,
    }
    if dice.random() < 0.1:
        fields.pop(dice.choice([*fields]))
    return fields


# ---- callbacks --------------------------------------------------------------------------------

_TOKEN: Final = "the token of vipps"

_CALLBACKS: Final = [
    callbacks.PROVIDER.bind(options)
    for options in (
        EndpointOptions(secrets=(Secret(_TOKEN),)),
        EndpointOptions(secrets=(Secret("another"), Secret(_TOKEN)), enforced=True),
        EndpointOptions(secrets=(Secret(_TOKEN),), callback="checkout"),
        EndpointOptions(secrets=(Secret(_TOKEN),), callback="express"),
        EndpointOptions(enforced=True),
    )
]


def callback(dice: Random) -> Message:
    """Write a callback of eCom, Checkout or Express, or the removal of a consent."""
    order = dice.choice(("order-1", "a%3Ab", "x" * 130, ""))
    method, remainder = dice.choice(
        (
            *[("POST", f"/v2/payments/{order}")] * 3,
            ("POST", f"/v2/payments/{order}/shippingDetails"),
            ("DELETE", f"/v2/consents/{order}"),
            ("DELETE", f"/v2/payments/{order}"),
            ("POST", dice.choice(("", "/", "/v2/payments", "/v2/payments/a/b/c"))),
        )
    )
    body = b"" if method == "DELETE" and dice.random() < 0.8 else _json(dice, _session(dice, order))
    fields = [("Content-Type", "application/json")]
    if dice.random() < 0.9:
        fields.append(("Authorization", dice.choice((*[_TOKEN] * 8, "another", "wrong"))))
    return Message(dice.choice(_CALLBACKS), body, fields, f"/hook{remainder}", remainder, method)


def _session(dice: Random, order: str) -> dict[str, object]:
    info: dict[str, object] = {
        "amount": dice.choice((49900, 1.5, 10**20)),
        "status": dice.choice(("SALE", "RESERVED", *_TEXTS)),
        "transactionId": dice.choice(("5001", "5002", *_TEXTS)),
    }
    return {
        "orderId": dice.choice((order, order, order, "order-2", None)),
        "reference": dice.choice((f"ref-{dice.randrange(9)}", *_TEXTS)),
        "sessionState": dice.choice(("PaymentSuccessful", "SessionExpired", *_TEXTS)),
        "transactionInfo": dice.choice((info, info, info, info, "x", None)),
    }


def _json(dice: Random, fields: dict[str, object]) -> bytes:
    separators = dice.choice(((",", ":"), (", ", ": ")))
    ascii_only = dice.random() < 0.5
    return json.dumps(fields, ensure_ascii=ascii_only, separators=separators).encode()
