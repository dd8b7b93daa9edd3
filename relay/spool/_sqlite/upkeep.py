"""Removing what has been kept long enough, and counting what there is."""

from datetime import datetime
from pathlib import Path
from typing import Final

import apsw

from relay.model import Status
from relay.spool import SpoolStats
from relay.spool._sqlite import files, rows
from relay.spool._sqlite.faults import unavailable

_BODIES: Final = """
UPDATE events SET body = NULL
WHERE seq IN (
    SELECT seq FROM events INDEXED BY events_body
    WHERE body IS NOT NULL AND status IN ('delivered', 'passed', 'test') AND received_at < :before
    ORDER BY received_at LIMIT :limit
)
"""

_RECORDS: Final = """
DELETE FROM events
WHERE seq IN (
    SELECT seq FROM events INDEXED BY events_settled
    WHERE status IN ('delivered', 'passed', 'test') AND received_at < :before
    ORDER BY received_at LIMIT :limit
)
"""

_PROBE: Final = "INSERT OR REPLACE INTO probe (one, filler) VALUES (1, zeroblob(16384))"

_FINDINGS: Final = 20

# Everything but whether each index holds what its table does, which takes several times as long.
_INSPECT: Final = f"PRAGMA quick_check({_FINDINGS})"

_TALLIES: Final = "SELECT endpoint, status, events FROM tallies WHERE events > 0"

_OLDEST: Final = """
SELECT oldest.upstream, events.received_at
FROM (
    SELECT upstream, min(seq) AS seq FROM events INDEXED BY events_lane
    WHERE status IN ('pending', 'leased') GROUP BY upstream
) AS oldest JOIN events USING (seq)
"""


def prune(
    connection: apsw.Connection, bodies_before: datetime, keys_before: datetime, limit: int
) -> int:
    """Remove records, then bodies, of settled events; return how many events were touched."""
    with connection:
        connection.execute(_RECORDS, {"before": rows.micros(keys_before), "limit": limit})
        removed = connection.changes()
        connection.execute(_BODIES, {"before": rows.micros(bodies_before), "limit": limit})
        emptied = connection.changes()
    return removed + emptied


def probe(connection: apsw.Connection) -> None:
    """Write as much as a large delivery would need, in a place that nobody reads."""
    connection.execute(_PROBE)


def inspect(connection: apsw.Connection) -> tuple[str, ...]:
    """Return what SQLite finds wrong with the file, at most `_FINDINGS` lines.

    Raises:
        SpoolUnavailable: it could not be looked over.
    """
    try:
        found = [str(line) for (line,) in rows.fetch(connection, _INSPECT, ())]
    except apsw.Error as error:
        if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
            return (str(error),)
        raise unavailable(error) from error
    return () if found == ["ok"] else tuple(found)


def stats(connection: apsw.Connection, path: Path) -> SpoolStats:
    """Return counts and sizes."""
    with connection:
        tallies = rows.fetch(connection, _TALLIES, ())
        oldest = rows.fetch(connection, _OLDEST, ())
    return SpoolStats(
        events={(endpoint, Status(status)): number for endpoint, status, number in tallies},
        oldest_pending={upstream: rows.moment(time) for upstream, time in oldest},
        size=files.size(path),
        free=files.free(path),
    )
