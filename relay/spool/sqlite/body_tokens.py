"""Tokens in bodies: masked once their event is delivered, and when they have been kept long enough.

The body is written anew and sealed again, so that what is left of the event can still be delivered.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from typing import Final

import apsw

from relay.core.json_pointer import masked
from relay.spool.sealing import KeyMissing
from relay.spool.sqlite import content, events
from relay.spool.sqlite.events import Row, Tables, fetch, numbers
from relay.spool.sqlite.keyring import FindKey

_HELD: Final = f"""
SELECT seq, {content.EVENT} FROM events WHERE seq IN carray(?) AND flags & 32
"""  # noqa: S608 - columns, no values

_OLD: Final = """
SELECT seq FROM events WHERE flags & 32 AND received_at < ? ORDER BY received_at LIMIT ?
"""

_WRITE: Final = "UPDATE events SET flags = ?, seal = ?, body = ? WHERE seq = ?"


def mask(connection: apsw.Connection, shared: Tables, seqs: Sequence[int]) -> int:
    """Mask the tokens of these events, at least one; return of how many.

    An event whose key is not named stays as it is. Runs inside a transaction.
    """
    # What is overwritten is not to stay in free parts of the file.
    shared.masked.update(seqs)
    find, done = partial(shared.keyring.find, connection), 0
    with overwriting(connection):
        for seq, *row in fetch(connection, _HELD, (numbers(seqs),)):
            try:
                flags, seal, body = _without(tuple(row), find)
            except KeyMissing:
                continue
            connection.execute(_WRITE, (flags, seal, body, seq))
            done += 1
    return done


@contextmanager
def overwriting(connection: apsw.Connection) -> Iterator[None]:
    """Overwrite what is deleted meanwhile, so that no free part of the file holds it."""
    before = connection.pragma("secure_delete")
    connection.pragma("secure_delete", 1)
    try:
        yield
    finally:
        connection.pragma("secure_delete", before)


def expire(connection: apsw.Connection, shared: Tables, before: int, limit: int) -> int:
    """Mask the tokens of up to `limit` events that were received before, in microseconds.

    Returns how many there were.
    """
    number = 0
    with connection:
        if old := [seq for (seq,) in fetch(connection, _OLD, (before, limit))]:
            number = mask(connection, shared, old)
    return number


def _without(row: Row, find: FindKey) -> tuple[int, bytes, bytes | None]:
    """Return flags, seal and body of an event without its tokens.

    The body goes where it is damaged: nothing says then where its tokens stand. The event stays
    damaged, since its seal does.

    Raises:
        KeyMissing: the body is sealed with a key that is not named.
    """
    event_id, _, received_at, flags, conflicts_with, head, seal, sealed_by, body = row
    left = flags & ~events.TOKENS
    digest = sha256(body or b"").digest()
    known = events.seal(event_id, received_at, flags, conflicts_with, head=head, body_sha256=digest)
    if body is None or known != seal:
        return left, seal, None
    pointers = events.parse_head(head)[events.POINTERS]
    change = partial(masked, pointers=pointers)
    shown = content.with_body(find, sealed_by, event_id, body, change)
    if shown is None:
        return left, seal, None
    digest = sha256(shown).digest()
    return (
        left,
        events.seal(event_id, received_at, left, conflicts_with, head=head, body_sha256=digest),
        shown,
    )
