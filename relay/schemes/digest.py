"""A keyed hash: the message with the secret behind it, hashed. Not an HMAC."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from relay.errors import Reason, Refusal
from relay.schemes import position_of
from relay.secret import Secret

Algorithm = Literal["sha1", "sha256", "sha512"]


class Digest:
    """Verifies lower-case hexadecimal digests of message and secret."""

    def __init__(self, algorithm: Algorithm, secrets: Sequence[Secret]) -> None:
        self._algorithm = algorithm
        self._secrets = tuple(secrets)
        self._length = hashlib.new(algorithm).digest_size * 2

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
        # Comparing the text, not the bytes it stands for, leaves one spelling that fits.
        expected = (self._digest(message, key) for key in self._secrets)
        return position_of(signature.encode("ascii"), expected)

    def _digest(self, message: bytes, secret: Secret) -> bytes:
        return hashlib.new(self._algorithm, message + secret.reveal()).hexdigest().encode("ascii")
