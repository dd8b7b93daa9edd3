"""The verifier of a described signature, with its keys."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from relay.core.errors import Reason, Refusal
from relay.core.secret import RevealedSecrets, Secret
from relay.providers.inline import (
    PUBLIC_KEY_SCHEMES,
    Algorithm,
    Encoding,
    Scheme,
    SignatureRule,
)
from relay.providers.inline.filled import Filled, with_secret
from relay.signatures import Verifier
from relay.signatures.public_key import Ecdsa, Ed25519, PublicKeyHash, Rsa, UnusableKey
from relay.signatures.shared_secret import Basic, Digest, Hmac, Token
from relay.signatures.spellings import AS_BASE64, AS_HEX, Respell


class TextVerifier(Protocol):
    """Verifies a signed text that may hold the secret itself."""

    def verify(self, parts: Sequence[Filled], signature: str) -> int:
        """Return the position, from 0, of the secret that fits.

        parts: of the text.

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
        return _VERIFIERS[rule.scheme](rule, keys)
    except UnusableKey as error:
        raise ValueError(f"secrets.{error.position}: {error}") from None


def public_key_hash(rule: SignatureRule) -> PublicKeyHash:
    """Return the hash of a signature with a public key.

    Raises:
        ValueError: it is one that collides.
    """
    match rule.algorithm:
        case "sha256" | "sha384" | "sha512":
            return rule.algorithm
        case weak:
            raise ValueError(f"algorithm: {weak} is none for a public key")


def key(rule: SignatureRule, secret: Secret) -> Secret:
    """Decode the secret to the bytes of the key.

    Raises:
        ValueError: it is not written as the rule says, or is empty.
    """
    text = secret.reveal().removeprefix(rule.strip_prefix.encode())
    if not text.strip():
        raise ValueError("is empty; give the sender's secret")
    if rule.scheme == "jwt" and is_written_key(secret):
        return secret
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


def is_written_key(secret: Secret) -> bool:
    """Return whether a secret of tokens is a key in PEM or a JSON Web Key, and no shared one."""
    return b"-----BEGIN" in secret.reveal() or secret.reveal().lstrip().startswith(b"{")


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
    """Passes the joined text to a `Verifier`, and the signature in its canonical spelling."""

    def __init__(self, verifier: Verifier, respell: Respell) -> None:
        self._verifier = verifier
        self._respell = respell

    def verify(self, parts: Sequence[Filled], signature: str) -> int:
        # No part is a hash of the secret: only a digest has those.
        text = b"".join(filter(None, parts))  # type: ignore[arg-type]
        return self._verifier.verify(text, self._respell(signature))


class _ProofVerifier:
    """Passes proofs that cover no text to their `Verifier` as they are."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def verify(self, parts: Sequence[Filled], signature: str) -> int:  # noqa: ARG002 - as said
        return self._verifier.verify(b"", signature)


class _EmbeddedSecretVerifier:
    """Verifies the hash of a text that holds the secret itself."""

    def __init__(self, algorithm: Algorithm, keys: Sequence[Secret], encoding: Encoding) -> None:
        self._digest = Digest(algorithm, (Secret(b""),))
        self._keys = RevealedSecrets.of(keys)
        self._respell = AS_HEX[encoding]

    def verify(self, parts: Sequence[Filled], signature: str) -> int:
        signature = self._respell(signature)
        if _holds_nul_at_end(parts):
            # Whoever has the digest of a text behind a secret can compute that of a longer one:
            # what it is filled up with in between holds such a byte.
            raise Refusal(Reason.SIGNATURE_MISMATCH, "a NUL is signed, and no secret behind it")
        fits: list[int] = []
        for position, key in enumerate(self._keys):
            try:
                self._digest.verify(with_secret(parts, key), signature)
            except Refusal:
                continue
            fits.append(position)
        if not fits:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no secret")
        return fits[0]


def _holds_nul_at_end(parts: Sequence[Filled]) -> bool:
    """Return whether there is a NUL behind the last secret."""
    for part in reversed(parts):
        if not isinstance(part, bytes):
            return False
        if b"\0" in part:
            return True
    return False


def _hmac(rule: SignatureRule, keys: Sequence[Secret]) -> TextVerifier:
    if rule.encoding == "hex":
        return _JoinedVerifier(Hmac(rule.algorithm, keys, "hex"), AS_HEX["hex"])
    return _JoinedVerifier(Hmac(rule.algorithm, keys, "base64"), AS_BASE64[rule.encoding])


def _public_key(rule: SignatureRule, verifier: Verifier) -> TextVerifier:
    return _JoinedVerifier(verifier, AS_BASE64[rule.encoding])


def _no_verifier(*_: object) -> TextVerifier:
    raise ValueError("secrets.0: is compared with nothing; leave secrets out")


_VERIFIERS: Final[Mapping[Scheme, Callable[[SignatureRule, Sequence[Secret]], TextVerifier]]] = (
    MappingProxyType(
        {
            "hmac": _hmac,
            "digest": lambda rule, keys: _EmbeddedSecretVerifier(
                rule.algorithm, keys, rule.encoding
            ),
            "rsa": lambda rule, keys: _public_key(rule, Rsa(keys, public_key_hash(rule))),
            "ed25519": lambda rule, keys: _public_key(rule, Ed25519(keys)),
            "ecdsa": lambda rule, keys: _public_key(rule, Ecdsa(keys, public_key_hash(rule))),
            "jwt": _no_verifier,
            "token": lambda _, keys: _ProofVerifier(Token(keys)),
            "basic": lambda _, keys: _ProofVerifier(Basic(keys)),
            "none": _no_verifier,
        }
    )
)
