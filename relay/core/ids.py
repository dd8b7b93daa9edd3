"""Names for events."""

import os
from collections.abc import Callable
from io import BytesIO
from typing import Final

from relay.clock import Clock

_BYTES: Final = 10
_TOGETHER: Final = 256


def event_ids(clock: Clock) -> Callable[[], str]:
    """Return a function that gives a new event id at each call.

    An id is `evt_` and the 32 hexadecimal digits of a UUID of version 7 (RFC 9562): it sorts by
    time, it cannot be guessed, and it holds no full stop, which Standard Webhooks forbids.
    """
    chance = BytesIO()

    def new_id() -> str:
        nonlocal chance
        drawn = chance.read(_BYTES)
        if not drawn:
            # Asked of the system for many at once: each asking lets another thread run first.
            chance = BytesIO(os.urandom(_BYTES * _TOGETHER))
            drawn = chance.read(_BYTES)
        milliseconds = int(clock.now().timestamp() * 1000)
        number = (milliseconds << 80) | int.from_bytes(drawn)
        number = number & ~(0xF << 76) | 0x7 << 76
        number = number & ~(0b11 << 62) | 0b10 << 62
        return f"evt_{number:032x}"

    return new_id
