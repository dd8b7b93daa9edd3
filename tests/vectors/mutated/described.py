"""A writer of messages of described senders: schemes, forms of a signature, signed times."""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable
from random import Random
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.core.secret import Secret
from relay.providers import EndpointOptions, Environment, Inspector
from relay.providers.inline import (
    Description,
    Field,
    HeaderField,
    JsonField,
    SignatureRule,
    TimeRule,
)
from relay.providers.inline.provider import InlineProvider
from tests.vectors.mutated import Fields, Message

_KEY: Final = b"0123456789abcdef0123456789abcdef"
_ED25519: Final = Ed25519PrivateKey.from_private_bytes(_KEY)
_URL: Final = "https://pay.example.com/hook?a=1"
_DATE: Final = "Mon, 05 Jan 2026 12:00:00 GMT"

_ID, _SIGNATURE, _TIME = HeaderField("X-Id"), HeaderField("X-Signature"), HeaderField("X-Time")


def _hmac(text: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(_KEY, text, algorithm)


def _base64(signature: bytes) -> str:
    return b64encode(signature).decode("ascii")


# ---- what each sender signs with, in the fields that it sends ----------------------------------


def _prefixed(body: bytes, _: str) -> Fields:
    return [("X-Signature", f"sha256={_hmac(body).hex()}")]


def _keyed(body: bytes, at: str) -> Fields:
    signature = _hmac(f"{at}.".encode() + body).hex()
    return [("X-Signature", f"t={at},v1={signature},v0=0,v1={'0' * 64}")]


def _versioned(body: bytes, at: str) -> Fields:
    signature = _base64(_hmac(f"msg_1.{at}.".encode() + body))
    return [("X-Id", "msg_1"), ("X-Time", at), ("X-Signature", f"v0,x v1,{signature}")]


def _dated(body: bytes, _: str) -> Fields:
    text = f"POST\n/hook?a=1\n{_DATE}\n{_base64(hashlib.sha256(body).digest())}"
    return [("X-Time", _DATE), ("X-Signature", _hmac(text.encode(), "sha1").hex())]


def _token(_: bytes, __: str) -> Fields:
    return [("X-Token", _KEY.decode("ascii")), ("X-Id", "1")]


def _ed25519(body: bytes, at: str) -> Fields:
    return [("X-Time", at), ("X-Signature", _ED25519.sign(f"{at}:".encode() + body).hex())]


def _in_body(_: bytes, __: str) -> Fields:
    return []


# ---- descriptions -----------------------------------------------------------------------------

_RULES: Final[list[tuple[Callable[[bytes, str], Fields], SignatureRule, tuple[Field, ...]]]] = [
    (
        _prefixed,
        SignatureRule("hmac", _SIGNATURE, format="sha256={signature}"),
        (JsonField("/id"), JsonField("/data/kind")),
    ),
    (
        _keyed,
        SignatureRule(
            "hmac", _SIGNATURE, format="t={timestamp},v1={signature}", signed="{timestamp}.{body}"
        ),
        (JsonField("/id"),),
    ),
    (
        _versioned,
        SignatureRule(
            *("hmac", _SIGNATURE),
            format="v1,{signature}",
            encoding="base64",
            signed="{header:X-Id}.{timestamp}.{body}",
            time=TimeRule(_TIME, "s"),
        ),
        (_ID,),
    ),
    (
        _dated,
        SignatureRule(
            *("hmac", _SIGNATURE, "sha1"),
            signed="{method}\n{path_query}\n{header:X-Time}\n{sha256_base64:body}",
            time=TimeRule(_TIME, "rfc1123"),
        ),
        (),
    ),
    (_token, SignatureRule("token", HeaderField("X-Token")), (_ID,)),
    (
        _ed25519,
        SignatureRule(
            *("ed25519", _SIGNATURE), signed="{timestamp}:{body}", time=TimeRule(_TIME, "s")
        ),
        (),
    ),
    (
        _in_body,
        SignatureRule(
            *("digest", JsonField("/sign"), "sha512"), signed="{json:/id}{json:/data/kind}{secret}"
        ),
        (JsonField("/id"),),
    ),
]


def _inspectors(rule: SignatureRule, key: tuple[Field, ...]) -> list[Inspector]:
    """Bind a description: with one secret or two, with and without the URL, and unsigned."""
    single = "/list" if rule.scheme == "digest" else None
    described = Description("described", rule, {"live": Environment()}, ("POST",), key, single)
    provider = InlineProvider(described)
    right, other = Secret(_KEY), Secret(b"another-secret-of-another-sender")
    if rule.scheme == "ed25519":
        right = Secret(_base64(_ED25519.public_key().public_bytes_raw()))
        other = right
    return [
        *[provider.bind(EndpointOptions((right,)))] * 2,
        provider.bind(EndpointOptions((other, right), _URL)),
        provider.bind(EndpointOptions()),
    ]


_SENDERS: Final = [(sign, rule, _inspectors(rule, key)) for sign, rule, key in _RULES]

# 2026-01-05T12:00:00Z, and times at the edges of the window and in other units.
_TIMES: Final = (*["1767614400"] * 8, "1767614100", "1767614701", "1767614400000", "+1", "")
_TEXTS: Final = ("", None, 5, 1.5, 10**20, True, "a:b", "é", [1], {"x": 1})


def described(dice: Random) -> Message:
    """Write a message of one of these senders."""
    sign, rule, inspectors = dice.choice(_SENDERS)
    body = b"id=1&kind=paid" if rule.signed == "{body}" and dice.random() < 0.2 else _json(dice)
    fields = [("Content-Type", "application/json"), *sign(body, dice.choice(_TIMES))]
    return Message(dice.choice(inspectors), body, fields, "/hook?a=1")


def _json(dice: Random) -> bytes:
    number = dice.choice((f"id-{dice.randrange(99)}", *_TEXTS))
    kind = dice.choice(("paid", "paid", *_TEXTS))
    fields: dict[str, object] = {
        "id": number,
        "data": dice.choice(({"kind": kind}, {"kind": kind}, {"kind": kind}, "x", None)),
        "list": dice.choice(([1], [{"a": 1}], [], [1, 2], "x")),
    }
    if dice.random() < 0.5:
        # As templates write the fields; those that have no such form are refused before.
        texts = (each if isinstance(each, str) else json.dumps(each) for each in (number, kind))
        fields["sign"] = hashlib.sha512("".join(texts).encode() + _KEY).hexdigest()
    separators = dice.choice(((",", ":"), (", ", ": ")))
    ascii_only = dice.random() < 0.5
    return json.dumps(fields, ensure_ascii=ascii_only, separators=separators).encode()
