"""HMAC over a message, written in Base64 or hexadecimal (RFC 2104)."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence
from typing import Literal

from relay.errors import Reason, Refusal
from relay.schemes import position_of
from relay.secret import Secret

Algorithm = Literal["sha1", "sha256", "sha512"]
Encoding = Literal["base64", "hex"]


class Hmac:
    """Verifies HMACs in standard Base64 with padding, or in lower-case hexadecimal digits."""

    def __init__(self, algorithm: Algorithm, secrets: Sequence[Secret], encoding: Encoding) -> None:
        self._algorithm = algorithm
        self._secrets = tuple(secrets)
        self._encoding = encoding
        self._length = len(self._encode(hashlib.new(algorithm).digest()))

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
        # Comparing the text, not the bytes it stands for, leaves one spelling that fits.
        expected = (self._mac(message, key) for key in self._secrets)
        return position_of(signature.encode("ascii"), expected)

    def _mac(self, message: bytes, secret: Secret) -> bytes:
        return self._encode(hmac.digest(secret.reveal(), message, self._algorithm))

    def _encode(self, mac: bytes) -> bytes:
        return b64encode(mac) if self._encoding == "base64" else mac.hex().encode("ascii")
