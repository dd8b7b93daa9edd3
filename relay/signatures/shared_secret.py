"""Verify proofs of a shared secret: HMAC, keyed digest, token, Basic. Sign Standard Webhooks."""

import base64
import binascii
import hashlib
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from hmac import compare_digest
from hmac import digest as hmac_digest
from types import MappingProxyType
from typing import Final, Literal

from relay.core.errors import Reason, Refusal
from relay.core.secret import RevealedSecrets, Secret
from relay.signatures import Encoding, decode

# ---- HMAC (RFC 2104) ------------------------------------------------------------------------

Algorithm = Literal["md5", "sha1", "sha256", "sha384", "sha512"]

_HASHES: Final = MappingProxyType(
    {
        "md5": hashlib.md5,
        "sha1": hashlib.sha1,
        "sha256": hashlib.sha256,
        "sha384": hashlib.sha384,
        "sha512": hashlib.sha512,
    }
)


class Hmac:
    """Verifies HMACs in standard Base64 with padding, or in lower-case hexadecimal digits."""

    def __init__(self, algorithm: Algorithm, secrets: Sequence[Secret], encoding: Encoding) -> None:
        self._algorithm = algorithm
        self._keys = RevealedSecrets.of(secrets)
        self._encoding = encoding
        self._hex = encoding == "hex"
        size: int = _HASHES[algorithm]().digest_size
        self._length = size * 2 if self._hex else (size + 2) // 3 * 4

    def verify(self, message: bytes, signature: str) -> int:
        """Return the position, from 0, of the secret under which `signature` fits `message`.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it fits none, or is not the one canonical spelling
                of a MAC: other padding bits, white space or upper-case digits do not pass.
        """
        if len(signature) != self._length or not signature.isascii():
            raise Refusal(
                Reason.SIGNATURE_MISMATCH, f"not {self._length} characters of {self._encoding}"
            )
        # Comparing the text, not the bytes it stands for, leaves one spelling that fits. All are
        # compared, each in constant time, so that time tells neither which one fits nor how much
        # of it.
        found = -1
        for position, key in enumerate(self._keys):
            mac = hmac_digest(key, message, self._algorithm)
            expected = mac.hex() if self._hex else b2a_base64(mac, newline=False).decode("ascii")
            if compare_digest(expected, signature) and found < 0:
                found = position
        if found < 0:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no secret")
        return found


# ---- keyed digest: the hash of the message followed by the secret; not an HMAC --------------


class Digest:
    """Verifies lower-case hexadecimal digests of the message followed by the secret."""

    def __init__(self, algorithm: Algorithm, secrets: Sequence[Secret]) -> None:
        self._keys = RevealedSecrets.of(secrets)
        self._hash = _HASHES[algorithm]
        self._length = self._hash().digest_size * 2

    def verify(self, message: bytes, signature: str) -> int:
        """Return the position, from 0, of the secret under which `signature` fits `message`.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it fits none, or is not exactly the lower-case
                hexadecimal digits of one digest.
        """
        if len(signature) != self._length or not signature.isascii():
            raise Refusal(
                Reason.SIGNATURE_MISMATCH, f"not {self._length} lower-case hexadecimal digits"
            )
        # Texts are compared, and all of them: as in `Hmac`.
        found = -1
        for position, key in enumerate(self._keys):
            expected = self._hash(message + key).hexdigest()
            if compare_digest(expected, signature) and found < 0:
                found = position
        if found < 0:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no secret")
        return found


# ---- token: authenticates the sender and covers no content ----------------------------------


_sha256 = hashlib.sha256


class Token:
    """Verifies whole tokens; white space and words like `Bearer` are part of a token.

    Digests of tokens are compared, since a comparison in constant time still shows whether the
    lengths differ. No token is kept in memory.
    """

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._digests = RevealedSecrets(_sha256(secret.reveal()).digest() for secret in secrets)

    def verify(self, message: bytes, signature: str) -> int:  # noqa: ARG002 - it is not covered
        """Return the position, from 0, of the secret that equals `signature`; ignores `message`.

        signature: the token, as Latin-1 text like any header field.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it equals none, or is empty.
        """
        try:
            given = _sha256(signature.encode("latin-1")).digest()
        except UnicodeEncodeError:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "the token is not Latin-1 text") from None
        found = -1
        for position, digest in enumerate(self._digests):
            if compare_digest(digest, given) and found < 0:
                found = position
        if found < 0 or not signature:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "the token fits no secret")
        return found


class Basic:
    """Verifies credentials of HTTP's Basic authentication (RFC 7617); compares as `Token` does."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        """Take pairs of name and password, with a colon between them.

        Raises:
            ValueError: one has no colon; the message begins with `secrets.` and its position.
        """
        for position, secret in enumerate(secrets):
            if b":" not in secret.reveal():
                raise ValueError(f'secrets.{position}: has no colon; write "user:password"')
        self._pairs = Token(secrets)

    def verify(self, message: bytes, signature: str) -> int:
        """Return the position, from 0, of the pair that `signature` holds; ignores `message`.

        signature: the value of `Authorization`; the name of the scheme has no case.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it holds none of them, or is written otherwise.
        """
        scheme, _, encoded = signature.partition(" ")
        if scheme.lower() != "basic":
            raise Refusal(Reason.SIGNATURE_MISMATCH, "does not begin with Basic")
        padded = encoded + "=" * (-len(encoded) % 4)
        return self._pairs.verify(message, decode(padded, "base64").decode("latin-1"))


def basic_credentials(pair: Secret) -> str:
    """Return the value of `Authorization` that `Basic` verifies."""
    return "Basic " + base64.b64encode(pair.reveal()).decode("ascii")


# ---- signing for upstreams (Standard Webhooks 1.0, symmetric `v1`) --------------------------

MIN_KEY_BYTES = 24
MAX_KEY_BYTES = 64


class Signer:
    """Signs with every secret given: several during a rotation.

    Raises:
        ValueError: there is no secret, or one of them is not Base64 of 24 to 64 bytes with an
            optional `whsec_` in front. The message names its position, never its value.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._keys = tuple(_signing_key(at, secret) for at, secret in enumerate(secrets))
        if not self._keys:
            raise ValueError("signing needs at least one secret")

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Return the value of `webhook-signature`: one signature per secret, separated by spaces.

        timestamp: seconds since 1970, as in `webhook-timestamp`.
        """
        signed = f"{message_id}.{timestamp}.".encode() + body
        digests = (hmac_digest(key, signed, "sha256") for key in self._keys)
        return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def _signing_key(position: int, secret: Secret) -> bytes:
    text = secret.reveal().removeprefix(b"whsec_")
    # The reference libraries take secrets without their padding, so people have such secrets.
    padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
    try:
        key = base64.b64decode(padded, validate=True)
    except binascii.Error:
        raise ValueError(f"signing secret {position} is not Base64") from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(
            f"signing secret {position} holds {len(key)} bytes;"
            f" Standard Webhooks asks for {MIN_KEY_BYTES} to {MAX_KEY_BYTES}"
        )
    return key
