"""Strangers in SQLite: the statements, and the store that runs them."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

import apsw

from relay.spool.sqlite import events
from relay.spool.sqlite.reader import Reader
from relay.spool.sqlite.writer import Writer
from relay.spool.strangers import Stranger, StrangerLimits, StrangerQuery

_ADD: Final = """
INSERT INTO strangers (endpoint, network, address, path, times, first_at, last_at, fits)
VALUES (:endpoint, :network, :address, :path, :times, :first_at, :last_at, :fits)
ON CONFLICT (endpoint, network) DO UPDATE SET
    address = excluded.address, path = excluded.path, times = times + excluded.times,
    first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at),
    fits = max(fits, excluded.fits)
"""

_NUMBER: Final = "SELECT count(*) FROM strangers WHERE endpoint = ?"

# What goes is the least recent of what neither fitted lately nor came often.
_CROWDED: Final = """
DELETE FROM strangers WHERE endpoint = :endpoint AND network IN (
    SELECT network FROM (
        SELECT network, last_at,
            row_number() OVER (ORDER BY fits DESC, last_at DESC) AS by_fit, fits,
            row_number() OVER (ORDER BY times DESC, last_at DESC) AS by_times
        FROM strangers WHERE endpoint = :endpoint
    )
    WHERE NOT (fits AND by_fit <= :fitted) AND by_times > :frequent
    ORDER BY last_at LIMIT :excess
)
"""

_TOTAL: Final = "SELECT count(*) FROM strangers"

_LARGEST: Final = """
SELECT endpoint, count(*) FROM strangers GROUP BY endpoint ORDER BY 2 DESC LIMIT 1
"""

_FIND: Final = """
SELECT endpoint, network, address, path, times, first_at, last_at, fits FROM strangers
WHERE {condition} ORDER BY fits DESC, last_at DESC, endpoint, network LIMIT :limit
"""

_PRUNE: Final = """
DELETE FROM strangers WHERE (endpoint, network) IN (
    SELECT endpoint, network FROM strangers WHERE last_at < :before LIMIT :limit
)
"""

#: Rows past a bound before it is kept to; and tenths of an endpoint's rows that `fitted` and
#: `frequent` may each have.
_SLACK: Final = 50
_SHARE: Final = 3


def add(connection: apsw.Connection, seen: Sequence[Stranger], bounds: StrangerLimits) -> None:
    """Add these to their rows, and remove what is past the bounds; all of it or nothing."""
    with connection:
        connection.executemany(_ADD, [_values(each) for each in seen])
        slack = min(_SLACK, bounds.per_endpoint // 10)
        for endpoint in {each.endpoint for each in seen}:
            [(number,)] = events.fetch(connection, _NUMBER, (endpoint,))
            # Not for each row anew.
            if number > bounds.per_endpoint + slack:
                _shrink(connection, endpoint, number, number - bounds.per_endpoint, bounds)
        [(total,)] = events.fetch(connection, _TOTAL)
        if total > bounds.total:
            # What an endpoint has that few ask for is not pushed out by a flood elsewhere.
            [(largest, number)] = events.fetch(connection, _LARGEST)
            _shrink(connection, largest, number, total - bounds.total + slack, bounds)


def _shrink(
    connection: apsw.Connection, endpoint: str, number: int, excess: int, bounds: StrangerLimits
) -> None:
    """Remove so many of the rows of an endpoint, of which there are this number."""
    share = number * _SHARE // 10
    values: events.Parameters = {
        "endpoint": endpoint,
        "fitted": min(bounds.fitted, share),
        "frequent": min(bounds.frequent, share),
        "excess": excess,
    }
    connection.execute(_CROWDED, values)


def find(connection: apsw.Connection, query: StrangerQuery) -> tuple[Stranger, ...]:
    """Return those whose signature fitted, then the others, each the last seen first.

    Raises:
        ValueError: the limit is not positive.
    """
    if query.limit < 1:
        raise ValueError(f"a limit is at least 1, not {query.limit}")
    values: events.Parameters = {"limit": query.limit}
    condition = "TRUE"
    if query.endpoint is not None:
        condition, values["endpoint"] = "endpoint = :endpoint", query.endpoint
    rows = events.fetch(connection, _FIND.format(condition=condition), values)
    return tuple(map(_stranger, rows))


def prune(connection: apsw.Connection, before: datetime, limit: int) -> int:
    """Remove up to `limit` that were last seen before this time; return how many."""
    connection.execute(_PRUNE, {"before": events.micros(before), "limit": limit})
    return connection.changes()


def _values(seen: Stranger) -> events.Parameters:
    return {
        "endpoint": seen.endpoint,
        "network": seen.network,
        "address": seen.address,
        "path": seen.path,
        "times": seen.times,
        "first_at": events.micros(seen.first_at),
        "last_at": events.micros(seen.last_at),
        "fits": int(seen.signature_fits),
    }


def _stranger(row: events.Row) -> Stranger:
    endpoint, network, address, path, times, first_at, last_at, fits = row
    return Stranger(
        endpoint=endpoint,
        network=network,
        address=address,
        path=path,
        times=times,
        first_at=events.moment(first_at),
        last_at=events.moment(last_at),
        signature_fits=bool(fits),
    )


class SqliteStrangers:
    """A `relay.spool.strangers.StrangerStore`; open as long as its spool is."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def add(self, seen: Sequence[Stranger], bounds: StrangerLimits) -> None:
        # A full disk keeps its last space for what was acknowledged.
        await self._writer.run(partial(add, seen=seen, bounds=bounds), is_intake=True)

    async def find(self, query: StrangerQuery) -> tuple[Stranger, ...]:
        return await self._reader.run(partial(find, query=query))

    async def prune(self, before: datetime, limit: int) -> int:
        return await self._writer.run(partial(prune, before=before, limit=limit))
