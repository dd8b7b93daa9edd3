"""Tokens in bodies: masked once their event is delivered, and when they have been kept long enough.

The body is written anew and sealed again, so that what is left of the event can still be delivered.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import apsw

from relay.core.json_pointer import masked
from relay.spool.sqlite import events
from relay.spool.sqlite.events import Row, Tables, fetch, numbers

_HELD: Final = f"""
SELECT seq, {events.EVENT} FROM events WHERE seq IN carray(?) AND flags & 32
"""  # noqa: S608 - columns, no values

_OLD: Final = """
SELECT seq FROM events WHERE flags & 32 AND received_at < ? ORDER BY received_at LIMIT ?
"""

_WRITE: Final = "UPDATE events SET flags = ?, seal = ?, body = ? WHERE seq = ?"


def mask(connection: apsw.Connection, shared: Tables, seqs: Sequence[int]) -> None:
    """Mask the tokens of these events, at least one. Runs inside a transaction."""
    # What is overwritten is not to stay in free parts of the file.
    shared.masked.update(seqs)
    before = connection.pragma("secure_delete")
    connection.pragma("secure_delete", 1)
    try:
        for seq, *row in fetch(connection, _HELD, (numbers(seqs),)):
            flags, seal, body = _without(tuple(row))
            connection.execute(_WRITE, (flags, seal, body, seq))
    finally:
        connection.pragma("secure_delete", before)


def expire(connection: apsw.Connection, shared: Tables, before: int, limit: int) -> int:
    """Mask the tokens of up to `limit` events that were received before, in microseconds.

    Returns how many there were.
    """
    with connection:
        old = [seq for (seq,) in fetch(connection, _OLD, (before, limit))]
        if old:
            mask(connection, shared, old)
    return len(old)


def _without(row: Row) -> tuple[int, bytes, bytes | None]:
    """Return flags, seal and body of an event without its tokens.

    The body goes where it is damaged: nothing says then where its tokens stand. The event stays
    damaged, since its seal does.
    """
    event_id, _, received_at, flags, conflicts_with, head, seal, body = row
    left = flags & ~events.TOKENS
    digest = sha256(body or b"").digest()
    known = events.seal(event_id, received_at, flags, conflicts_with, head=head, body_sha256=digest)
    if body is None or known != seal:
        return left, seal, None
    shown = masked(body, events.parse_head(head)[events.POINTERS])
    digest = sha256(shown).digest()
    return (
        left,
        events.seal(event_id, received_at, left, conflicts_with, head=head, body_sha256=digest),
        shown,
    )
