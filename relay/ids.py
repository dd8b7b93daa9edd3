"""Names for events."""

import os
from collections.abc import Callable

from relay.clock import Clock


def event_ids(clock: Clock) -> Callable[[], str]:
    """Return a function that gives a new event id at each call.

    An id is `evt_` and the 32 hexadecimal digits of a UUID of version 7 (RFC 9562): it sorts by
    time, it cannot be guessed, and it holds no full stop, which Standard Webhooks forbids.
    """

    def new_id() -> str:
        milliseconds = int(clock.now().timestamp() * 1000)
        number = (milliseconds << 80) | int.from_bytes(os.urandom(10))
        number = number & ~(0xF << 76) | 0x7 << 76
        number = number & ~(0b11 << 62) | 0b10 << 62
        return f"evt_{number:032x}"

    return new_id
