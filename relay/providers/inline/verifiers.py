"""The verifier of a described signature, with its keys."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Literal, Protocol

from relay.core.errors import Reason, Refusal
from relay.core.secret import RevealedSecrets, Secret
from relay.providers.inline import (
    PUBLIC_KEY_SCHEMES,
    Algorithm,
    Encoding,
    SignatureRule,
)
from relay.signatures import (
    Verifier,
    decode,
)
from relay.signatures.public_key import Ed25519, Rsa, UnusableKey
from relay.signatures.shared_secret import Digest, Hmac, Token


class TextVerifier(Protocol):
    """Verifies a signed text that may hold the secret itself."""

    def verify(self, parts: Sequence[bytes | None], signature: str) -> int:
        """Return the position, from 0, of the secret that fits.

        parts: of the text, with None where the secret belongs.

        Raises:
            Refusal: SIGNATURE_MISMATCH.
        """


def text_verifier(rule: SignatureRule, secrets: Sequence[Secret]) -> TextVerifier:
    """Build the verifier of this rule.

    Raises:
        ValueError: a secret is unusable; the message begins with `secrets.` and its position.
    """
    keys = [_key(rule, position, secret) for position, secret in enumerate(secrets)]
    try:
        match rule.scheme:
            case "digest":
                return _EmbeddedSecretVerifier(rule.algorithm, keys, rule.encoding)
            case "hmac":
                return _JoinedVerifier(Hmac(rule.algorithm, keys, _plain(rule.encoding)))
            case "rsa":
                return _JoinedVerifier(Rsa(keys), rule.encoding)
            case "ed25519":
                return _JoinedVerifier(Ed25519(keys, _plain(rule.encoding)))
            case "token":
                return _JoinedVerifier(Token(keys))
            case _:
                raise ValueError(f"scheme: {rule.scheme} is not available yet")
    except UnusableKey as error:
        raise ValueError(f"secrets.{error.position}: {error}") from None


def _plain(encoding: Encoding) -> Literal["hex", "base64"]:
    return "hex" if encoding == "hex" else "base64"


def key(rule: SignatureRule, secret: Secret) -> Secret:
    """Decode the secret to the bytes of the key.

    Raises:
        ValueError: it is not written as the rule says, or is empty.
    """
    text = secret.reveal().removeprefix(rule.strip_prefix.encode())
    if not text.strip():
        raise ValueError("is empty; give the sender's secret")
    if rule.scheme in PUBLIC_KEY_SCHEMES:
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


class _JoinedVerifier:
    """Passes the joined text to a `Verifier`; converts hexadecimal signatures to its Base64."""

    def __init__(self, verifier: Verifier, encoding: Encoding = "base64") -> None:
        self._verifier = verifier
        self._encoding = encoding

    def verify(self, parts: Sequence[bytes | None], signature: str) -> int:
        if self._encoding == "hex":
            signature = b64encode(decode(signature, "hex")).decode("ascii")
        return self._verifier.verify(b"".join(filter(None, parts)), signature)


class _EmbeddedSecretVerifier:
    """Verifies the hash of a text that holds the secret itself."""

    def __init__(self, algorithm: Algorithm, keys: Sequence[Secret], encoding: Encoding) -> None:
        self._digest = Digest(algorithm, (Secret(b""),))
        self._keys = RevealedSecrets.of(keys)
        self._encoding = encoding

    def verify(self, parts: Sequence[bytes | None], signature: str) -> int:
        if self._encoding == "base64":
            signature = decode(signature, "base64").hex()
        fits: list[int] = []
        for position, key in enumerate(self._keys):
            try:
                text = b"".join([key if part is None else part for part in parts])
                self._digest.verify(text, signature)
            except Refusal:
                continue
            fits.append(position)
        if not fits:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no secret")
        return fits[0]
