"""Content codings of a body (RFC 9110, section 8.4.1): gzip undone, within a bound."""

import zlib
from collections.abc import Iterable
from typing import Final

from relay.core.errors import Reason, Refusal

#: Both names are the same coding (RFC 9110, section 8.4.1.3).
_GZIP: Final = (["gzip"], ["x-gzip"])

#: Tells zlib to read the gzip format (RFC 1952), and no other.
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS


def codings(values: Iterable[str]) -> list[str]:
    """Return the codings that Content-Encoding names, in lower case, but for `identity`."""
    named = (each.strip().lower() for value in values for each in value.split(","))
    return [each for each in named if each != "identity"]


def is_gzip(values: Iterable[str]) -> bool:
    """Return whether gzip is the only coding that these values of Content-Encoding name."""
    return codings(values) in _GZIP


def gunzip(body: bytes, limit: int) -> bytes:
    """Return what a body holds: one member of gzip, and nothing behind it.

    No more than `limit` bytes are ever made, and one.

    Raises:
        Refusal: BODY_TOO_LARGE when it holds more; BODY_MALFORMED when it is no whole member, its
            checksum does not fit, or something follows it.
    """
    reader = zlib.decompressobj(_GZIP_FORMAT)
    try:
        found = reader.decompress(body, limit + 1)
    except zlib.error:
        raise Refusal(Reason.BODY_MALFORMED, "it is no gzip, or is damaged") from None
    if len(found) > limit:
        raise Refusal(Reason.BODY_TOO_LARGE, f"more than {limit} bytes in gzip")
    if not reader.eof:
        raise Refusal(Reason.BODY_MALFORMED, "the gzip ends early")
    if reader.unused_data:
        raise Refusal(Reason.BODY_MALFORMED, "something follows the gzip")
    return found
