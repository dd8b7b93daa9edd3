"""The `Verifier` contract: keys and mathematics, and nothing of providers.

A verifier returns or raises; there is no flag that a tired caller could ignore.
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
    """One kind of signature with its secrets, made once an endpoint."""

    def verify(self, message: bytes, signature: str) -> int:
        """Return the position, from 0, of the secret under which `signature` fits `message`.

        Every secret is tried and compared in constant time.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it fits none, or is not well-formed.
        """


def position_of(given: bytes, expected: Iterable[bytes]) -> int:
    """Return the position, from 0, of the first of these that is what was given.

    All are compared, each in constant time, so that time tells neither which one fits nor how much
    of it.

    Raises:
        Refusal: SIGNATURE_MISMATCH when none is.
    """
    fits = [compare_digest(each, given) for each in expected]
    if not any(fits):
        raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no secret")
    return fits.index(True)


def decoded(signature: str, encoding: Encoding) -> bytes:
    """Return the bytes of a signature in its one canonical spelling.

    Raises:
        Refusal: SIGNATURE_MISMATCH for white space, spare bits, another case, or nothing.
    """
    try:
        if encoding == "hex":
            given = bytes.fromhex(signature)
            written = given.hex()
        else:
            given = b64decode(signature, validate=True)
            written = b64encode(given).decode("ascii")
    except ValueError:
        given, written = b"", ""
    # Writing it again leaves one spelling.
    if not given or written != signature:
        raise Refusal(Reason.SIGNATURE_MISMATCH, f"not in strict {encoding}")
    return given


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


#: Is told each signed text directly before its signature is verified.
OnSigned = Callable[[SignedText], None]


def ignore_signed(_: SignedText) -> None:
    """Do nothing with a signed text: the default of what takes an `OnSigned`."""
