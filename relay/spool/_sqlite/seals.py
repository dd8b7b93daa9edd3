"""The checksum of an event: what was received is what will be delivered, or it is not delivered.

It covers what an upstream is sent: the stored columns and the body. It is kept for as long as the
event, so what is written here can only be changed together with a migration.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import orjson

Field = str | int | float | bytes | None

_VERSION: Final = b"event 1\n"


def digest(fields: Sequence[Field]) -> str:
    """Return a digest of these fields, at least one, that no other fields have, in hexadecimal.

    The last one may be long: where it is bytes, it is hashed as it is.

    Raises:
        ValueError: a text holds half a surrogate pair, and could not be stored.
    """
    *others, last = fields
    try:
        head = orjson.dumps(others, default=_marked)
        tail = last if isinstance(last, bytes) else orjson.dumps(last)
    except TypeError as error:
        raise ValueError(str(error)) from None
    kind = b"raw" if isinstance(last, bytes) else b"json"
    # The length keeps the one from passing for a part of the other.
    return sha256(b"%b%d %b %b%b" % (_VERSION, len(head), kind, head, tail)).hexdigest()


def seal(received: str, conflicts_with: str | None, out_of_order: int) -> str:
    """Return the checksum, as the statement that stores an event writes it.

    received: the digest of what came from outside. The rest is found out by that statement, which
        can put values in a row but cannot hash: they stand here a second time, to be compared.
    """
    return f"{received} {out_of_order} {conflicts_with or ''}"


def _marked(raw: bytes) -> dict[str, str]:
    # No column holds bytes but the last one; damage can put them into another.
    return {"bytes": raw.hex()}
