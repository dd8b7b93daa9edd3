"""The checksum of an event: what was received is what will be delivered, or it is not delivered.

It covers what an upstream is sent: the stored columns and the body. It is kept for as long as the
event, so what is written here can only be changed together with a migration.
"""

from hashlib import sha256
from typing import Final

Field = str | int | float | bytes | None

_VERSION: Final = b"event 1\n"


def digest(fields: tuple[Field, ...]) -> str:
    """Return a digest of these fields that no other fields have, in hexadecimal.

    Each is preceded by its kind and length, so none can pass for a part of another.
    """
    return sha256(b"".join((_VERSION, *map(_encoded, fields)))).hexdigest()


def seal(received: str, conflicts_with: str | None, out_of_order: int) -> str:
    """Return the checksum, as the statement that stores an event writes it.

    received: the digest of what came from outside. The rest is found out by that statement, which
        can put values in a row but cannot hash: they stand here a second time, to be compared.
    """
    return f"{received} {out_of_order} {conflicts_with or ''}"


def _encoded(field: Field) -> bytes:
    match field:
        case None:
            return b"n0:"
        case bytes():
            return b"b%d:%b" % (len(field), field)
        case str():
            raw = field.encode()
            return b"s%d:%b" % (len(raw), raw)
        case _:
            # A fraction is never stored, but damage can turn a number into one.
            raw = repr(field).encode()
            return b"i%d:%b" % (len(raw), raw)
