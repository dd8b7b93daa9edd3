"""The `Verifier` contract: one kind of signature with its keys, independent of any provider.

A verifier returns the position of the secret or raises; it returns no bool that a caller could
ignore.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from hmac import compare_digest
from typing import Literal, Protocol

from relay.core.errors import Reason, Refusal
from relay.core.request import frozen

# ---- verifiers ------------------------------------------------------------------------------

Encoding = Literal["base64", "hex"]


class Verifier(Protocol):
    """Verifies one kind of signature with its secrets; built once for each endpoint."""

    def verify(self, message: bytes, signature: str) -> int:
        """Return the position, from 0, of the secret under which `signature` fits `message`.

        Every secret is compared, each in constant time.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it fits none, or is not well-formed.
        """


def matching_position(given: bytes, expected: Iterable[bytes]) -> int:
    """Return the position, from 0, of the first expected value that equals the given one.

    All are compared, each in constant time, so that time tells neither which one fits nor how much
    of it.

    Raises:
        Refusal: SIGNATURE_MISMATCH when none does.
    """
    matches = [compare_digest(each, given) for each in expected]
    if not any(matches):
        raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no secret")
    return matches.index(True)


def decode(signature: str, encoding: Encoding) -> bytes:
    """Decode a signature that is in canonical Base64 or lower-case hexadecimal.

    Raises:
        Refusal: SIGNATURE_MISMATCH for white space, spare bits, another case, or nothing.
    """
    try:
        if encoding == "hex":
            found = bytes.fromhex(signature)
            canonical = found.hex()
        else:
            found = b64decode(signature, validate=True)
            canonical = b64encode(found).decode("ascii")
    except ValueError:
        found, canonical = b"", ""
    # Writing it again leaves one spelling.
    if not found or canonical != signature:
        raise Refusal(Reason.SIGNATURE_MISMATCH, f"not in strict {encoding}")
    return found


# ---- signed texts ---------------------------------------------------------------------------


@frozen
class SignedText:
    """A text that may have been signed, and the signature that came with it.

    parts: the text in pieces, with None where a secret belongs: it can be shown.
    """

    parts: tuple[bytes | None, ...]
    signature: str

    def joined(self, secret: bytes = b"") -> bytes:
        """Return the text in one piece, with this secret where one belongs."""
        return b"".join([secret if part is None else part for part in self.parts])


#: Called with each signed text directly before its signature is verified.
OnSigned = Callable[[SignedText], None]


def ignore_signed(_: SignedText) -> None:
    """The default `OnSigned`: does nothing."""
