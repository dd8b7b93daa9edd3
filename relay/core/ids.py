"""Event ids (UUIDv7), and event keys spelled for logs and headers."""

import hashlib
import os
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import quote

_BATCH_SIZE: Final = 256


def event_ids() -> Callable[[datetime], str]:
    """Return a function that makes a new event id of a given time at each call.

    An id is `evt_` and the 32 hexadecimal digits of a UUID of version 7 (RFC 9562): it sorts by
    time, it cannot be guessed, and it holds no full stop, which Standard Webhooks forbids.
    """
    return _ids("evt")


def refusal_ids() -> Callable[[datetime], str]:
    """Return a function that gives a new refusal id of this time at each call.

    It begins with `ref_`, and is otherwise as an event id.
    """
    return _ids("ref")


def _ids(prefix: str) -> Callable[[datetime], str]:
    tails: list[str] = []

    def new_id(at: datetime) -> str:
        if not tails:
            # Many at once: each system call lets another thread run first.
            tails.extend(_random_tails(_BATCH_SIZE))
        # The 48 bits of the time, in milliseconds.
        return f"{prefix}_{int(at.timestamp() * 1000):012x}{tails.pop()}"

    return new_id


def _random_tails(number: int) -> list[str]:
    """Return so many random ends of a UUID of version 7: all that follows the time."""
    chance = os.urandom(10 * number).hex()
    # Its version, twelve random bits, two bits of the variant, and 62 random ones.
    return [
        f"7{chance[at : at + 3]}{_VARIANT[chance[at + 3]]}{chance[at + 4 : at + 19]}"
        for at in range(0, len(chance), 20)
    ]


#: By a random digit, the digit that begins with the bits of the variant, 10.
_VARIANT: Final = {digit: f"{0b1000 | int(digit, 16) & 0b0011:x}" for digit in "0123456789abcdef"}

MAX_PART: Final = 128

_PLAIN_PART = rf"[A-Za-z0-9._ +/=@-]{{0,{MAX_PART}}}"
# By their number of parts: a plain part holds no colon, so that those in a key stand between them.
_PLAIN_KEYS = tuple(
    re.compile(":".join([_PLAIN_PART] * parts), re.ASCII).fullmatch for parts in range(9)
)


def spell(*parts: str) -> str:
    """Return the parts joined by colons.

    Two different lists of parts give two different keys. Everything but plain ASCII is
    percent-encoded, and a part longer than `MAX_PART` becomes `*` and its SHA-256.
    """
    key = ":".join(parts)
    number = len(parts)
    if number < len(_PLAIN_KEYS) and _PLAIN_KEYS[number](key):
        return key
    return ":".join([_part(part) for part in parts])


def of_digest(digest: bytes) -> str:
    """Return the key of a message that carries no identifier: the SHA-256 of its body."""
    return f"sha256:{digest.hex()}"


def _part(part: str) -> str:
    if len(part) > MAX_PART:
        return "*" + hashlib.sha256(part.encode("utf-8")).hexdigest()
    return quote(part, safe=" +/=@")
