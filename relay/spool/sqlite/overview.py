"""What waits in SQLite: counted by ranges of indexes, or read from the tallies."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import apsw

from relay.spool.overview import DAMAGED_AMONG, Overview, Waiting
from relay.spool.sqlite import disk, events, upkeep
from relay.spool.sqlite.events import fetch, read_names
from relay.spool.sqlite.reader import Reader

# A range of the table itself: a million of them take some 30 ms.
_QUEUED: Final = "SELECT count(*) FROM queue WHERE upstream = ?"

_LEASED: Final = "SELECT upstream, count(*) FROM inhand GROUP BY upstream"

_TALLIES: Final = (
    "SELECT status, endpoint, deliveries FROM tallies WHERE deliveries > 0 AND status IN (3, 4)"
)

_FIRST: Final = """
SELECT at FROM settled INDEXED BY settled_stopped WHERE state = ? AND state > 2
ORDER BY seq LIMIT 1
"""

# The index has them in order: a million take some 30 ms.
_EVENTS: Final = """
SELECT count(DISTINCT seq) FROM settled INDEXED BY settled_stopped WHERE state = ? AND state > 2
"""

_DAMAGED: Final = """
SELECT count(DISTINCT seq), min(at) FROM (
    SELECT seq, at, outcome FROM settled INDEXED BY settled_stopped WHERE state = 3 AND state > 2
    ORDER BY seq DESC LIMIT ?
)
WHERE outcome = 'corrupt'
"""

_REFUSED: Final = """
SELECT count(*), min(received_at) FROM refusals INDEXED BY refusals_received
WHERE received_at >= ?1 AND released_as IS NULL AND (signature_fits IS 1) = ?2
"""


def read(connection: apsw.Connection, path: Path, *, refused: int, signed: int) -> Overview:
    """Return the overview; `refused` and `signed` are the times from which refusals count."""
    with connection:
        counted = _counted(connection, refused, signed)
    return replace(counted, size=disk.size(path), free=disk.free(path))


def _counted(connection: apsw.Connection, refused: int, signed: int) -> Overview:
    names = read_names(connection)
    oldest = upkeep.oldest_pending(connection)
    leased: dict[int, int] = dict(fetch(connection, _LEASED))
    backlog = {
        name: Waiting(_queued(connection, number) + leased.get(number, 0), oldest[name])
        for number, name in names.items()
        if name in oldest
    }
    return Overview(
        backlog=backlog,
        dead=_stopped(connection, names, events.DEAD),
        dead_events=_events(connection, events.DEAD),
        dead_since=_first(connection, events.DEAD),
        held=_stopped(connection, names, events.HELD),
        held_events=_events(connection, events.HELD),
        held_since=_first(connection, events.HELD),
        damaged=_waiting(connection, _DAMAGED, (DAMAGED_AMONG,)),
        refused=_waiting(connection, _REFUSED, (refused, 0)),
        unknown_but_signed=_waiting(connection, _REFUSED, (signed, 1)),
    )


def _queued(connection: apsw.Connection, upstream: int) -> int:
    [(number,)] = fetch(connection, _QUEUED, (upstream,))
    return int(number)


def _stopped(connection: apsw.Connection, names: Mapping[int, str], state: int) -> dict[str, int]:
    return {
        names[endpoint]: number
        for each, endpoint, number in fetch(connection, _TALLIES)
        if each == state and endpoint in names
    }


def _events(connection: apsw.Connection, state: int) -> int:
    [(number,)] = fetch(connection, _EVENTS, (state,))
    return int(number)


def _first(connection: apsw.Connection, state: int) -> datetime | None:
    for (at,) in fetch(connection, _FIRST, (state,)):
        return events.moment(at)
    return None


def _waiting(connection: apsw.Connection, statement: str, values: tuple[int, ...]) -> Waiting:
    [(number, since)] = fetch(connection, statement, values)
    return Waiting(number, None if since is None else events.moment(since))


class SqliteOverview:
    """A `relay.spool.overview.OverviewStore`; open as long as its spool is."""

    def __init__(self, reader: Reader, path: Path) -> None:
        self._reader = reader
        self._path = path

    async def read(self, refused_since: datetime, signed_since: datetime) -> Overview:
        refused, signed = events.micros(refused_since), events.micros(signed_since)
        return await self._reader.run(
            partial(read, path=self._path, refused=refused, signed=signed)
        )
