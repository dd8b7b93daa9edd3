"""Kinds of signature. A scheme knows keys and mathematics, and nothing of providers.

A verifier returns or raises; there is no flag that a tired caller could ignore.
"""

from typing import Protocol


class Verifier(Protocol):
    """One kind of signature with its secrets, made once an endpoint."""

    def verify(self, message: bytes, signature: str) -> int:
        """Return the position, from 0, of the secret under which `signature` fits `message`.

        Every secret is tried and compared in constant time.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it fits none, or is not well-formed.
        """
