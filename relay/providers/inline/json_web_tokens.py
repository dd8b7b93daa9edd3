"""Verify JSON Web Tokens (RFC 7519), and detached signatures of the body (RFC 7515)."""

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Final
from uuid import uuid4

from relay.core import strict_json
from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.core.strict_json import JsonObject, JsonValue, number_text
from relay.providers import Window
from relay.providers.inline import JwtRule, SignatureRule
from relay.providers.inline.formats import Format
from relay.providers.inline.message import Message
from relay.providers.inline.signature import Verified
from relay.providers.inline.verifiers import key
from relay.signatures import OnSigned, decode, ignore_signed
from relay.signatures.json_web_signature import JsonWebSignature, sign_compact
from relay.signatures.public_key import UnusableKey
from relay.signatures.spellings import AS_BASE64, AS_HEX

#: How far the sender's clock may be off.
LEEWAY: Final = timedelta(minutes=1)
#: The life of a token that is signed here.
_LIFE: Final = timedelta(minutes=5)

_DIGEST_HEX = 64
# The last second of the year 9999.
_MAX_TIME = 253402300799
_ALL = ("body",)


class JwtCheck:
    """Verifies the tokens of one rule with the secrets of one endpoint."""

    def __init__(self, rule: SignatureRule, secrets: tuple[Secret, ...], window: Window) -> None:
        """Build the check of a rule of the scheme `jwt`, without `problems`.

        Raises:
            ValueError: a secret is unusable; the message begins with `secrets.` and its position.
        """
        self._rule = _own(rule)
        self._source = rule.source
        self._format = Format(rule.format)
        self._window = window
        try:
            self._signature = JsonWebSignature(jwt_keys(rule, secrets), self._rule.algorithms)
        except UnusableKey as error:
            raise ValueError(f"secrets.{error.position}: {error}") from None

    def verify(
        self, message: Message, now: datetime, on_signed: OnSigned = ignore_signed
    ) -> Verified:
        """Verify a token, what it claims, and whether it is of this body.

        on_signed: as in `Inspector.verify`; not called where a token covers nothing of the body,
            since it could be used again with another.

        Raises:
            Refusal: with the reason of the first check that failed.
        """
        first: Refusal | None = None
        for value in message.signatures(self._source):
            try:
                return self._verify(message, value, now, on_signed)
            except Refusal as refusal:
                first = first or refusal
        raise first or Refusal(Reason.SIGNATURE_MISSING)

    def verify_each(
        self, message: Message, now: datetime, on_signed: OnSigned = ignore_signed
    ) -> Verified:
        """Do as `verify` for every element that the stars of the rule's pointer stand for."""
        found = [self.verify(each, now, on_signed) for each in message.elements(self._source)]
        return found[0]

    def _verify(self, message: Message, value: str, now: datetime, on_signed: OnSigned) -> Verified:
        (token,) = self._format.read(without_bearer(value)).signatures
        rule = self._rule
        if rule.detached:
            found = self._signature.verify(token, message.body, on_signed)
            return Verified(found.key, _ALL, ambiguous=False, filled=(message.body,))
        if rule.body_sha256 is None:
            on_signed = ignore_signed
        found = self._signature.verify(token, on_signed=on_signed)
        claims = _claims(found.payload)
        _check_named(claims, rule)
        _check_times(claims, rule, now, self._window)
        if rule.body_sha256 is None:
            return Verified(found.key, (), ambiguous=False)
        _check_body(claims.get(rule.body_sha256), rule.body_sha256, message.body_digest)
        return Verified(found.key, _ALL, ambiguous=False, filled=(message.body,))


def _own(rule: SignatureRule) -> JwtRule:
    return JwtRule(()) if rule.jwt is None else rule.jwt


def jwt_keys(rule: SignatureRule, secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    """Return the keys that secrets stand for.

    Raises:
        ValueError: one is not written as the rule says.
    """
    found = []
    for position, secret in enumerate(secrets):
        try:
            found.append(key(rule, secret))
        except ValueError as error:
            raise ValueError(f"secrets.{position}: {error}") from None
    return tuple(found)


def without_bearer(value: str) -> str:
    """Return a value without the name of the scheme that Authorization begins with (RFC 6750)."""
    scheme, blank, token = value.partition(" ")
    return token if blank and scheme.lower() == "bearer" else value


# ---- claims ---------------------------------------------------------------------------------


def _claims(payload: bytes) -> JsonObject:
    try:
        return strict_json.parse_object(payload)
    except Refusal:
        raise Refusal(Reason.SIGNATURE_MISMATCH, "the claims are no JSON object") from None


def _check_named(claims: JsonObject, rule: JwtRule) -> None:
    if rule.issuer is not None and claims.get("iss") != rule.issuer:
        raise Refusal(Reason.FIELD_FOREIGN, "iss is another issuer")
    if rule.audience is None:
        return
    named = claims.get("aud")
    if rule.audience not in (named if isinstance(named, list) else [named]):
        raise Refusal(Reason.FIELD_FOREIGN, "aud names another audience")


def _check_times(claims: JsonObject, rule: JwtRule, now: datetime, window: Window) -> None:
    """Check the times of a token: until when, from when, and where it has no end, its age."""
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    ends, begins, made = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if ends is None and rule.expires:
        raise Refusal(Reason.TIMESTAMP_INVALID, "exp is missing")
    if ends is not None and at >= ends + leeway:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, "the token has expired")
    if begins is not None and at < begins - leeway:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, "the token is not valid yet")
    if made is None:
        return
    if made > at + leeway:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, "the token was issued in the future")
    past = window.past
    if ends is None and past is not None and at - made > past.total_seconds():
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, "the token is too old, and has no end")


def _time(claims: Mapping[str, JsonValue], name: str) -> float | None:
    if name not in claims:
        return None
    text = number_text(claims[name])
    seconds = math.nan if text is None else float(text)
    if not 0 <= seconds <= _MAX_TIME:
        raise Refusal(Reason.TIMESTAMP_INVALID, f"{name} is no time")
    return seconds


def _check_body(claim: JsonValue, name: str, digest: bytes) -> None:
    """Check the claim that holds the SHA-256 of the body, in hexadecimal or base64url."""
    if not isinstance(claim, str):
        raise Refusal(Reason.SIGNATURE_MISMATCH, f"{name} is missing")
    if len(claim) == _DIGEST_HEX:
        claimed = decode(AS_HEX["hex"](claim), "hex")
    else:
        claimed = decode(AS_BASE64["base64url"](claim), "base64")
    if not compare_digest(claimed, digest):
        raise Refusal(Reason.SIGNATURE_MISMATCH, f"{name} does not fit the body")


# ---- signing --------------------------------------------------------------------------------


def signed_token(
    rule: SignatureRule, secret: Secret, at: datetime, body: bytes, digest: bytes
) -> str:
    """Return the token that `JwtCheck` verifies with this body.

    digest: the SHA-256 of the body.

    Raises:
        ValueError: the secret is none that this rule can sign with.
    """
    own = _own(rule)
    (with_it,) = jwt_keys(rule, (secret,))
    if own.detached:
        return sign_compact(with_it, body, own.algorithms, detached=True)
    seconds = int(at.timestamp())
    claims: dict[str, object] = {
        "iat": seconds,
        "exp": seconds + int(_LIFE.total_seconds()),
        "jti": uuid4().hex,
    }
    if own.audience is not None:
        claims["aud"] = own.audience
    if own.issuer is not None:
        claims["iss"] = own.issuer
    if own.body_sha256 is not None:
        claims[own.body_sha256] = digest.hex()
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return sign_compact(with_it, payload, own.algorithms)
