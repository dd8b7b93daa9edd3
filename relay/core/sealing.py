"""Sealing values that are stored: AES-256-GCM, each value bound to the place where it lies.

A sealed value is a random nonce of 96 bits, then the ciphertext, then its tag of 128 bits. It opens
only in its place: a value that was moved to another row or column is as good as a changed one.
"""

import os
import re
from base64 import b64decode
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core.secret import Secret

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
#: What a sealed value takes besides the value.
OVERHEAD: Final = _NONCE_BYTES + _TAG_BYTES

_HEX: Final = re.compile(rb"[0-9A-Fa-f]{64}")
_BASE64: Final = re.compile(rb"[0-9A-Za-z+/]{43}=?")


class NotAuthentic(Exception):
    """Not what was sealed here, or not with this key."""


def key_bytes(written: Secret) -> bytes:
    """Return the 32 bytes of a key that is written as Base64 or hex.

    Raises:
        ValueError: it is neither, or not of 32 bytes; the message holds nothing of it.
    """
    text = written.reveal()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text.decode())
    if _BASE64.fullmatch(text):
        return b64decode(text.removesuffix(b"=") + b"=")
    raise ValueError(
        f"is not {KEY_BYTES} bytes as Base64 or hex; openssl rand -base64 {KEY_BYTES} prints a key"
    )


class SealingKey:
    """A key that seals and opens. It prints its fingerprint alone; several threads may use it."""

    __slots__ = ("_cipher", "fingerprint")

    def __init__(self, written: Secret) -> None:
        """Take the key as it is written.

        Raises:
            ValueError: as `key_bytes`.
        """
        key = key_bytes(written)
        self._cipher = AESGCM(key)
        # Keyed by it: who does not have the key can try keys out, and do no more.
        digest = blake2b(key=key, person=b"relay sealing", digest_size=8)
        self.fingerprint: Final = digest.hexdigest()

    def seal(self, value: bytes, place: bytes) -> bytes:
        """Return the value sealed for this place."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return the value that was sealed for this place.

        Raises:
            NotAuthentic: it was not sealed so, or not with this key.
        """
        if len(sealed) < OVERHEAD:
            raise NotAuthentic
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
        except InvalidTag:
            raise NotAuthentic from None

    def __repr__(self) -> str:
        return f"SealingKey({self.fingerprint})"
