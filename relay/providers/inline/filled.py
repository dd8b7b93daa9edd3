"""A signed text with the values of one message in it, and gaps where only the secret tells."""

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HashOfSecret:
    """The hash of a text that holds the secret."""

    algorithm: str
    encoding: str
    parts: tuple["Filled", ...]

    def value(self, secret: bytes) -> bytes:
        """Return the hash with this secret, as it is written."""
        return hash_of(self.algorithm, self.encoding, with_secret(self.parts, secret))


#: One part of a signed text in a message; None is the secret.
Filled = bytes | None | HashOfSecret


def with_secret(parts: Sequence[Filled], secret: bytes) -> bytes:
    """Return the text in one piece."""
    return b"".join(
        [
            part if isinstance(part, bytes) else secret if part is None else part.value(secret)
            for part in parts
        ]
    )


def shown(parts: Sequence[Filled]) -> tuple[bytes | None, ...]:
    """Return the text as it can be shown: what is hashed with the secret stands in parentheses."""
    return tuple(_shown(parts))


def _shown(parts: Sequence[Filled]) -> Iterator[bytes | None]:
    for part in parts:
        if isinstance(part, HashOfSecret):
            yield f"{part.algorithm}_{part.encoding}(".encode()
            yield from _shown(part.parts)
            yield b")"
        else:
            yield part


def hash_of(algorithm: str, encoding: str, text: bytes) -> bytes:
    """Return a hash as it is written: in hexadecimal or Base64."""
    return written(hashlib.new(algorithm, text, usedforsecurity=False).digest(), encoding)


def written(digest: bytes, encoding: str) -> bytes:
    """Return bytes in hexadecimal or Base64."""
    return digest.hex().encode() if encoding == "hex" else b64encode(digest)
