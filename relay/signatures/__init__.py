"""The `Verifier` contract: one kind of signature with its keys, independent of any provider.

A verifier returns the position of the secret or raises; it returns no bool that a caller could
ignore.
"""

from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
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
            found = a2b_base64(signature)
            canonical = b2a_base64(found, newline=False).decode("ascii")
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
    """The default `OnSigned`: does nothing. No text is put together to be given to it."""
