"""Deliveries by hour in SQLite: the statements, and the store that runs them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import apsw

from relay.spool.activity import KEPT, Activity
from relay.spool.sqlite import events
from relay.spool.sqlite.reader import Reader
from relay.spool.sqlite.writer import Writer

_HOUR: Final = timedelta(hours=1)
_HOURS_KEPT: Final = KEPT // _HOUR
_MICROS: Final = _HOUR // timedelta(microseconds=1)

_ADD: Final = """
INSERT INTO activity (hour, endpoint, verdict, deliveries) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET deliveries = deliveries + excluded.deliveries
"""

_LAST: Final = """
INSERT INTO last_deliveries (endpoint, at) VALUES (?, ?)
ON CONFLICT DO UPDATE SET at = max(at, excluded.at)
"""

_OLD: Final = "DELETE FROM activity WHERE hour < ?"

_SINCE: Final = """
SELECT hour, endpoint, verdict, deliveries FROM activity WHERE hour >= ?
ORDER BY hour, endpoint, verdict
"""

_LAST_OF_ALL: Final = "SELECT endpoint, at FROM last_deliveries"


def add(
    connection: apsw.Connection,
    counted: Sequence[tuple[int, str, str, int]],
    last: Sequence[tuple[str, int]],
) -> None:
    """Add numbers by hour, endpoint and verdict, and times by endpoint; remove old hours."""
    with connection:
        if counted:
            connection.executemany(_ADD, counted)
            newest = max(hour for hour, *_ in counted)
            connection.execute(_OLD, (newest - _HOURS_KEPT,))
        if last:
            connection.executemany(_LAST, last)


def since(connection: apsw.Connection, hour: int) -> tuple[Activity, ...]:
    """Return what is kept of this hour and later ones."""
    return tuple(
        Activity(events.moment(each * _MICROS), endpoint, verdict, deliveries)
        for each, endpoint, verdict, deliveries in events.fetch(connection, _SINCE, (hour,))
    )


def last_deliveries(connection: apsw.Connection) -> dict[str, datetime]:
    """Return times by endpoint."""
    rows = events.fetch(connection, _LAST_OF_ALL)
    return {endpoint: events.moment(at) for endpoint, at in rows}


def _hours(at: datetime) -> int:
    return events.micros(at) // _MICROS


class SqliteActivity:
    """A `relay.spool.activity.ActivityStore`; open as long as its spool is."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def add(self, counted: Sequence[Activity], last: Mapping[str, datetime]) -> None:
        rows = [
            (_hours(each.hour), each.endpoint, each.verdict, each.deliveries) for each in counted
        ]
        times = [(endpoint, events.micros(at)) for endpoint, at in last.items()]
        # A full disk keeps its last space for what was acknowledged.
        await self._writer.run(partial(add, counted=rows, last=times), is_intake=True)

    async def since(self, hour: datetime) -> tuple[Activity, ...]:
        return await self._reader.run(partial(since, hour=_hours(hour)))

    async def last_deliveries(self) -> Mapping[str, datetime]:
        return await self._reader.run(last_deliveries)
