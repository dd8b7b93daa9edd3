"""Secrets as they are written -> what verifies with them."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Protocol

from relay.errors import Reason, Refusal
from relay.inline import Algorithm, Encoding, SignatureRule
from relay.schemes import Verifier, decoded
from relay.schemes.digest import Digest
from relay.schemes.hmac import Hmac
from relay.schemes.pubkey import Ed25519, Rsa, UnusableKey
from relay.schemes.token import Token
from relay.secret import Secret


class Check(Protocol):
    """Verifies what a template was filled with; None stands where the secret belongs."""

    def verify(self, filled: Sequence[bytes | None], signature: str) -> int:
        """Return the position, from 0, of the secret that fits.

        Raises:
            Refusal: SIGNATURE_MISMATCH.
        """


def check(rule: SignatureRule, secrets: Sequence[Secret]) -> Check:
    """Return what verifies signatures of this rule.

    Raises:
        ValueError: a secret is unusable; the message begins with `secrets.` and its position.
    """
    keys = [_key(rule, position, secret) for position, secret in enumerate(secrets)]
    try:
        match rule.scheme:
            case "digest":
                return _WithSecret(rule.algorithm, keys, rule.encoding)
            case "hmac":
                return _Joined(Hmac(rule.algorithm, keys, rule.encoding))
            case "rsa":
                return _Joined(Rsa(keys), rule.encoding)
            case "ed25519":
                return _Joined(Ed25519(keys, rule.encoding))
            case "token":
                return _Joined(Token(keys))
    except UnusableKey as error:
        raise ValueError(f"secrets.{error.position}: {error}") from None


def key(rule: SignatureRule, secret: Secret) -> Secret:
    """Return the bytes that a secret stands for.

    Raises:
        ValueError: it is not written as the rule says, or is empty.
    """
    text = secret.reveal().removeprefix(rule.strip_prefix.encode())
    if not text.strip():
        raise ValueError("is empty; give the sender's secret")
    if rule.scheme in {"rsa", "ed25519"}:
        # These read Base64 themselves.
        return Secret(b64encode(_hex(text)) if rule.key_encoding == "hex" else text)
    decoded_key = text
    if rule.key_encoding == "hex":
        decoded_key = _hex(text)
    if rule.key_encoding == "base64":
        decoded_key = _base64(text)
    if not decoded_key:
        raise ValueError("stands for no bytes at all; give the sender's secret")
    return Secret(decoded_key)


def _key(rule: SignatureRule, position: int, secret: Secret) -> Secret:
    try:
        return key(rule, secret)
    except ValueError as error:
        raise ValueError(f"secrets.{position}: {error}") from None


def _hex(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(text)
    except binascii.Error:
        raise ValueError("is not hexadecimal; secret_encoding says it would be") from None


def _base64(text: bytes) -> bytes:
    # Senders and people leave the padding out.
    padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
    try:
        return b64decode(padded, validate=True)
    except binascii.Error:
        raise ValueError("is not Base64; secret_encoding says it would be") from None


class _Joined:
    """Hands the joined text on. `encoding` is given where the verifier wants Base64 alone."""

    def __init__(self, verifier: Verifier, encoding: Encoding = "base64") -> None:
        self._verifier = verifier
        self._encoding = encoding

    def verify(self, filled: Sequence[bytes | None], signature: str) -> int:
        if self._encoding == "hex":
            signature = b64encode(decoded(signature, "hex")).decode("ascii")
        return self._verifier.verify(b"".join(part or b"" for part in filled), signature)


class _WithSecret:
    """A hash over a text that holds the secret itself."""

    def __init__(self, algorithm: Algorithm, keys: Sequence[Secret], encoding: Encoding) -> None:
        self._digest = Digest(algorithm, (Secret(b""),))
        self._keys = tuple(keys)
        self._encoding = encoding

    def verify(self, filled: Sequence[bytes | None], signature: str) -> int:
        if self._encoding == "base64":
            signature = decoded(signature, "base64").hex()
        fits: list[int] = []
        for position, secret in enumerate(self._keys):
            text = b"".join(secret.reveal() if part is None else part for part in filled)
            try:
                self._digest.verify(text, signature)
            except Refusal:
                continue
            fits.append(position)
        if not fits:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no secret")
        return fits[0]
