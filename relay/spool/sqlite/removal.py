"""Content removed for good: what an endpoint does not keep of an event that is delivered.

The row stays, with its digests, so that a copy is still known as one; it does not bring back what
was removed. The row is sealed anew, as if the body had been empty.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import apsw
import orjson

from relay.core.request import Keep
from relay.spool.sqlite import body_tokens, content, events
from relay.spool.sqlite.events import Row, Tables, fetch, numbers

# Delivered with every destination, or without any.
_DELIVERED: Final = """
SELECT seq FROM events WHERE seq IN carray(?1)
    AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.seq = events.seq)
    AND NOT EXISTS (SELECT 1 FROM settled WHERE settled.seq = events.seq AND state <> 1)
    AND seq NOT IN (SELECT seq FROM inhand)
"""

_EVENTS: Final = f"""
SELECT seq, {content.EVENT} FROM events WHERE seq IN carray(?)
"""  # noqa: S608 - columns, no values

_WRITE: Final = """
UPDATE events SET flags = ?, head = ?, seal = ?, sealed_by = ?, body = NULL WHERE seq = ?
"""

_FORGET_ANSWERS: Final = """
UPDATE attempts SET answer = NULL, sealed_by = NULL WHERE seq = ? AND answer IS NOT NULL
"""

EMPTY: Final = sha256(b"").digest()


def remove_delivered(connection: apsw.Connection, shared: Tables, seqs: Sequence[int]) -> None:
    """Remove what is not kept of those of these events, at least one, that are delivered.

    An event is when its last destination has taken it: till then the others need what it holds.
    Tokens in bodies are masked, in any case. Runs inside a transaction.
    """
    if not (done := [seq for (seq,) in fetch(connection, _DELIVERED, (numbers(seqs),))]):
        return
    body_tokens.mask(connection, shared, done)
    with body_tokens.overwriting(connection):
        for seq, *row in fetch(connection, _EVENTS, (numbers(done),)):
            _remove(connection, seq, tuple(row))


def _remove(connection: apsw.Connection, seq: int, row: Row) -> None:
    event_id, _, received_at, flags, conflicts_with, head, seal, sealed_by, body = row
    keep = kept(events.parse_head(head))
    if keep is Keep.ALL or body is None:
        return
    digest = sha256(body).digest()
    known = events.seal(event_id, received_at, flags, conflicts_with, head=head, body_sha256=digest)
    sound, flags = known == seal, flags | events.REMOVED
    if keep is Keep.NONE:
        head, sealed_by = without_content(head), None
        connection.execute(_FORGET_ANSWERS, (seq,))
    if sound:
        # What is damaged stays so.
        seal = events.seal(
            event_id, received_at, flags, conflicts_with, head=head, body_sha256=EMPTY
        )
    connection.execute(_WRITE, (flags, head, seal, sealed_by, seq))


def kept(parts: Sequence[object]) -> Keep:
    """Return what the head of an event says is kept of it."""
    found = parts[events.KEEP] if len(parts) > events.KEEP else None
    return next((each for each in Keep if each == found), Keep.ALL)


def without_content(head: bytes) -> bytes:
    """Return a head without header fields and without the query; one that is damaged is blank."""
    try:
        return events.head_of(bare(orjson.loads(head)))
    except (ValueError, TypeError, LookupError, AttributeError):
        return b"[]"


def bare(parts: Sequence[Any]) -> tuple[Any, ...]:
    """Return the parts of a head without header fields and without the query."""
    left = list(parts)
    left[events.HEADERS], left[events.SUFFIX] = (), content.split_query(left[events.SUFFIX])[0]
    return tuple(left)
