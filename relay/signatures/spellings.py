"""How senders spell the bytes of a signature, and the one canonical spelling of each.

Canonical are lower-case hexadecimal digits, and standard Base64 with its padding. Hexadecimal
digits come in any case; Base64 may come without its padding, and in the alphabet of URLs (RFC
4648, section 5). Every other deviation stays in the text, and does not pass as canonical.
"""

from binascii import b2a_base64
from collections.abc import Callable
from types import MappingProxyType
from typing import Final, Literal

from relay.signatures import decode

Spelling = Literal["hex", "base64", "base64url"]
#: Raises Refusal, with SIGNATURE_MISMATCH, where a text stands for no bytes.
Respell = Callable[[str], str]

# The characters of the other alphabet become one that is in none.
_FROM_URL: Final = str.maketrans("-_+/", "+/!!")


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


def _standard(text: str) -> str:
    return _padded(text.translate(_FROM_URL))


def _hex_as_base64(text: str) -> str:
    return b2a_base64(decode(text.lower(), "hex"), newline=False).decode("ascii")


#: Functions that respell a text in canonical Base64.
AS_BASE64: Final = MappingProxyType[Spelling, Respell](
    {"hex": _hex_as_base64, "base64": _padded, "base64url": _standard}
)
#: Functions that respell a text in canonical hexadecimal digits.
AS_HEX: Final = MappingProxyType[Spelling, Respell](
    {
        "hex": str.lower,
        "base64": lambda text: decode(_padded(text), "base64").hex(),
        "base64url": lambda text: decode(_standard(text), "base64").hex(),
    }
)
