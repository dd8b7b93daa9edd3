"""Storing an event, once; and the history of one that was passed on."""

from collections.abc import Sequence
from typing import Final

import apsw

from relay.spool import Conflict, Duplicate, Stored
from relay.spool._sqlite import rows

# One statement decides and stores, so nothing can come between: a copy, an event of the same key
# with other content, and a later state of the same subject are all seen as of the insert.
# The LIMIT keeps SQLite from repeating a look-up wherever its result is used.
_PUT: Final = """
INSERT INTO events (
    id, endpoint, provider, environment, upstream, key, content, restated, subject, opening,
    method, suffix, headers, client, received_at, signed, conflicts_with, out_of_order, status,
    place, attempts, since, due_at, lease_until, checksum, body, reconciled, confirm
)
SELECT
    :id, :endpoint, :provider, :environment, :upstream, :key, :content, :restated, :subject,
    :opening, :method, :suffix, :headers, :client, :received_at, :signed, known.id, known.later,
    :status, :place, :attempts, :since, :due_at, :lease_until,
    :digest || ' ' || known.later || ' ' || ifnull(known.id, ''),
    :body, :reconciled, :confirm
FROM (
    SELECT
        (
            SELECT id FROM events WHERE seq = (
                SELECT min(seq) FROM events
                WHERE key = :key AND endpoint = :endpoint AND content <> :content
                    AND status <> 'passed'
            )
        ) AS id,
        :opening AND EXISTS (
            SELECT 1 FROM events
            WHERE endpoint = :endpoint AND subject = :subject AND opening = 0
                AND status <> 'passed'
        ) AS later
    LIMIT 1
) AS known
WHERE NOT (:refuse AND known.id IS NOT NULL)
    AND NOT EXISTS (
        SELECT 1 FROM events
        WHERE key = :key AND endpoint = :endpoint AND (:reconciled OR reconciled)
            AND status <> 'passed'
    )
ON CONFLICT (key, endpoint, content) DO NOTHING
ON CONFLICT (endpoint, restated) WHERE restated IS NOT NULL DO NOTHING
RETURNING conflicts_with, out_of_order
"""

_KNOWN: Final = """
SELECT id, (content = :content OR :reconciled OR reconciled) AS same FROM events
WHERE key = :key AND endpoint = :endpoint AND status <> 'passed'
ORDER BY same DESC, seq LIMIT 1
"""

_RESTATED: Final = """
SELECT id FROM events WHERE endpoint = :endpoint AND restated = :restated
"""

_RECORD: Final = """
INSERT INTO events (
    id, endpoint, provider, environment, upstream, key, content, subject, opening, method, suffix,
    headers, client, received_at, signed, out_of_order, status, attempts, since, settled_at,
    last_outcome, checksum, body, confirm
)
VALUES (
    :id, :endpoint, :provider, :environment, :upstream, :key, :content, :subject, :opening,
    :method, :suffix, :headers, :client, :received_at, :signed, 0, 'passed', 1, :received_at,
    :settled_at, :outcome, :checksum, :body, :confirm
)
ON CONFLICT DO NOTHING
"""


def put(connection: apsw.Connection, row: rows.Parameters) -> Stored | Duplicate | Conflict:
    """Store the event of `rows.parameters`, or say which event it is, or stands against."""
    for conflicts_with, out_of_order in rows.fetch(connection, _PUT, row):
        return Stored(str(row["id"]), conflicts_with, bool(out_of_order))
    for event_id, same in rows.fetch(connection, _KNOWN, row):
        if same:
            return Duplicate(event_id)
        if row["refuse"]:
            return Conflict(event_id)
    [(event_id,)] = rows.fetch(connection, _RESTATED, row)
    return Duplicate(event_id)


def record(connection: apsw.Connection, passed: Sequence[rows.Parameters]) -> None:
    """Keep each of `rows.passed_parameters`, unless it is there already; all or none."""
    with connection:
        connection.executemany(_RECORD, passed)
