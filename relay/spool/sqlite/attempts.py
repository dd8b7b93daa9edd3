"""The attempts of destinations: rows, which of them are kept, and reading them."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

import apsw

from relay.core.event import Delivered, Rejected, Unconfirmed, Unreachable
from relay.spool import Settlement
from relay.spool.history import Attempt
from relay.spool.sqlite import content, events
from relay.spool.sqlite.events import fetch, read_names
from relay.spool.sqlite.keyring import Keyring

# ---- keeping --------------------------------------------------------------------------------

#: Event, upstream and number of an attempt, when it was settled, and what came of it.
Tried = tuple[int, int, int, int, Settlement]

_KEEP: Final = """
INSERT INTO attempts (seq, upstream, number, at, outcome, status, cause, took, sealed_by, answer)
VALUES (?,?,?,?,?,?,?,?,?,?)
"""

# The first ten attempts of a destination are kept, and the newest forty.
_FIRST, _NEWEST = 10, 40

_FORGET: Final = "DELETE FROM attempts WHERE seq = ? AND upstream = ? AND number = ?"


def keep_attempts(connection: apsw.Connection, keyring: Keyring, tried: Sequence[Tried]) -> None:
    """Keep these attempts, and of each destination no more than is kept."""
    connection.executemany(_KEEP, [_row(keyring, each) for each in tried])
    for seq, upstream, number, *_ in tried:
        crowded = number - _NEWEST
        if crowded > _FIRST:
            connection.execute(_FORGET, (seq, upstream, crowded))


def _row(keyring: Keyring, tried: Tried) -> tuple[Any, ...]:
    *where, number, now, settled = tried
    outcome, answer, sealed_by = settled.outcome, settled.answer, None
    kind = events.outcome_text(outcome).partition(" ")[0]
    status = outcome.status if isinstance(outcome, Delivered | Rejected) else None
    cause = outcome.cause if isinstance(outcome, Unreachable | Unconfirmed) else None
    if answer is not None and keyring.writes is not None:
        event_id = settled.lease.event.id.encode()
        sealed_by, answer = content.sealed_answer(keyring.writes, event_id, number, answer)
    return *where, number, now, kind, status, cause, settled.took, sealed_by, answer


_KEEP_FIRST: Final = """
INSERT INTO attempts (seq, upstream, number, at, outcome, status, took)
SELECT seq, upstream, 1, at, 'delivered', CAST(substr(outcome, 11) AS INTEGER), took FROM settled
WHERE seq = ? AND upstream = ? AND state = 1 AND attempts = 1
"""


def keep_first(connection: apsw.Connection, seq: int, upstream: int) -> None:
    """Keep the first attempt of a destination that is going to be settled no more.

    One that succeeded has stood in `settled` alone.
    """
    connection.execute(_KEEP_FIRST, (seq, upstream))


# ---- reading --------------------------------------------------------------------------------

# A first one that succeeded stands in `settled` alone.
_ATTEMPTS: Final = """
SELECT number, at, upstream, CAST(outcome AS BLOB), status, CAST(cause AS BLOB), took, sealed_by,
    answer
FROM attempts WHERE seq = ?1
UNION ALL
SELECT 1, at, upstream, x'64656c697665726564', CAST(substr(outcome, 11) AS INTEGER), NULL, took,
    NULL, NULL
FROM settled WHERE seq = ?1 AND state = 1 AND attempts = 1
ORDER BY 2, 1
"""


def attempts_of(
    connection: apsw.Connection, keyring: Keyring, event_id: str
) -> tuple[Attempt, ...]:
    """Return the attempts of an event that are kept, the oldest first.

    Raises:
        KeyMissing: an answer is sealed with a key that is not named.
    """
    raw_id, find = event_id.encode(errors="replace"), partial(keyring.find, connection)
    with connection:
        names = read_names(connection)
        rows = [
            row
            for (seq,) in fetch(connection, "SELECT seq FROM events WHERE id = ?", (event_id,))
            for row in fetch(connection, _ATTEMPTS, (seq,))
        ]
    return tuple(
        Attempt(
            number=events.number_of(number),
            at=events.moment(at),
            upstream=names.get(upstream, ""),
            outcome=events.text_of(outcome),
            status=status if isinstance(status, int) else None,
            cause=None if cause is None else events.text_of(cause),
            duration=timedelta(microseconds=took) if isinstance(took, int) else None,
            answer=content.opened_answer(find, sealed_by, raw_id, events.number_of(number), answer),
        )
        for number, at, upstream, outcome, status, cause, took, sealed_by, answer in rows
    )
