"""Read every event from a spool's file with SQLite alone, past relay's own code."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw

_ROWS = "SELECT id, endpoint, upstream, key, status, attempts, body FROM history ORDER BY seq"

#: The numbers of `tallies.status`.
_STATUSES = {
    -2: "pending",
    -1: "leased",
    1: "delivered",
    2: "passed",
    3: "dead",
    4: "held",
    5: "test",
}

_TALLIES = """
SELECT name, status, deliveries FROM tallies JOIN names ON id = endpoint WHERE deliveries <> 0
"""

_PLACES = """
SELECT seq, upstream FROM queue
UNION ALL SELECT seq, upstream FROM inhand
UNION ALL SELECT seq, upstream FROM settled
"""

#: Events without a destination: those that no route leads anywhere.
_UNROUTED = f"""
SELECT events.id, name, json_extract(CAST(head AS TEXT), '$[4]'), body
FROM events JOIN names ON names.id = endpoint
WHERE seq NOT IN (SELECT seq FROM ({_PLACES})) ORDER BY seq
"""

_MISPLACED = {
    "in more than one place": (
        f"SELECT 1 FROM ({_PLACES}) GROUP BY seq, upstream HAVING count(*) > 1"
    ),
    # The head names the upstreams that it goes to.
    "not everywhere": f"""
        SELECT 1 FROM events
        LEFT JOIN (SELECT seq, count(*) AS number FROM ({_PLACES}) GROUP BY seq) USING (seq)
        WHERE iif(json_valid(CAST(head AS TEXT)), json_array_length(CAST(head AS TEXT), '$[1]'), 1)
            > coalesce(number, 0)
    """,
    "without an event": f"SELECT 1 FROM ({_PLACES}) WHERE seq NOT IN (SELECT seq FROM events)",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One destination of an event; `upstream` is empty for an event that has none."""

    id: str
    endpoint: str
    upstream: str
    key: str
    status: str
    attempts: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SpoolAudit:
    """All destinations in order of their events' receipt.

    sound: what `PRAGMA integrity_check` says: `ok`, or what is wrong; or that a destination does
        not lie in exactly one of their tables.
    tallies: the counts that the file keeps by itself.
    unrouted: the events that have no destination.
    """

    sound: str
    rows: tuple[Row, ...]
    tallies: Counter[tuple[str, str]]
    unrouted: tuple[Row, ...] = ()

    @property
    def bodies(self) -> Counter[bytes]:
        """Return how many events there are with each body."""
        by_id = {row.id: row.body for row in (*self.rows, *self.unrouted)}
        return Counter(by_id.values())

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Return the number of destinations by endpoint and status."""
        return Counter((row.endpoint, row.status) for row in self.rows)

    def having(self, *statuses: str) -> set[str]:
        """Return the ids of the events with a destination in one of these states."""
        return {row.id for row in self.rows if row.status in statuses}


def audit_stopped(spool: Path) -> SpoolAudit:
    """Read the file that a relay has left behind.

    A copy is read: opening the file itself would mend it before the next relay has to. Where
    there is none yet, nothing is stored.
    """
    if not spool.exists():
        return SpoolAudit("ok", (), Counter())
    with TemporaryDirectory() as directory:
        copy = Path(directory) / spool.name
        for suffix in ("", "-wal"):
            file = spool.with_name(spool.name + suffix)
            if file.exists():
                shutil.copyfile(file, copy.with_name(copy.name + suffix))
        return _audit(copy, apsw.SQLITE_OPEN_READWRITE)


def audit_running(spool: Path) -> SpoolAudit:
    """Read the file of a running relay."""
    return _audit(spool, apsw.SQLITE_OPEN_READONLY)


def _audit(path: Path, flags: int) -> SpoolAudit:
    connection = apsw.Connection(str(path), flags)
    try:
        sound = str(connection.pragma("integrity_check"))
        if not list(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'")):
            return SpoolAudit(sound, (), Counter())
        with connection:
            found: list[Any] = connection.execute(_ROWS).fetchall()
            tallies: list[Any] = connection.execute(_TALLIES).fetchall()
            unrouted: list[Any] = connection.execute(_UNROUTED).fetchall()
            for where, statement in _MISPLACED.items():
                if number := len(connection.execute(statement).fetchall()):
                    sound = f"{sound}; {number} {where}"
    finally:
        connection.close()
    return SpoolAudit(
        sound,
        tuple(Row(*row) for row in found),
        Counter({(name, _STATUSES[status]): number for name, status, number in tallies}),
        tuple(
            Row(event_id, name, "", key, "delivered", 0, body)
            for event_id, name, key, body in unrouted
        ),
    )
