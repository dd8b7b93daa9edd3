"""Paused upstreams in SQLite: the statements, and the store that runs them."""

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import apsw

from relay.spool.audit import Actor
from relay.spool.pauses import Pause
from relay.spool.sqlite import database, events
from relay.spool.sqlite.events import Tables, fetch
from relay.spool.sqlite.reader import Reader
from relay.spool.sqlite.writer import Writer

_BUSY_TIMEOUT: Final = timedelta(seconds=1.5)

_ALL: Final = """
SELECT name, at, actor FROM paused JOIN names ON names.id = paused.upstream ORDER BY name
"""

_PAUSE: Final = """
INSERT INTO paused (upstream, at, actor) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1
"""

_RESUME: Final = """
DELETE FROM paused WHERE upstream = (SELECT id FROM names WHERE name = ?) RETURNING 1
"""


def read(connection: apsw.Connection) -> dict[str, Pause]:
    """Return the pauses by upstream."""
    return {
        name: Pause(events.moment(at), Actor(actor)) for name, at, actor in fetch(connection, _ALL)
    }


def paused_in(path: Path) -> set[str]:
    """Return the names of the paused upstreams of the spool in this file; write nothing.

    Raises:
        SpoolUnavailable: there is no spool in this file, or it cannot be read.
    """
    try:
        with closing(database.open_reading(path.resolve(), _BUSY_TIMEOUT)) as connection:
            return set(read(connection))
    except apsw.Error as error:
        raise database.unavailable(error) from error


def pause(
    connection: apsw.Connection, shared: Tables, upstream: str, actor: Actor, at: datetime
) -> bool:
    """Pause an upstream; return whether it was not paused before."""
    with connection:
        number = shared.names.number(connection, upstream)
        added = fetch(connection, _PAUSE, (number, events.micros(at), actor.value))
    return bool(added)


def resume(connection: apsw.Connection, upstream: str) -> bool:
    """End a pause; return whether there was one."""
    with connection:
        removed = fetch(connection, _RESUME, (upstream,))
    return bool(removed)


class SqlitePauses:
    """A `relay.spool.pauses.PauseStore`; open as long as its spool is."""

    def __init__(self, writer: Writer, reader: Reader, shared: Tables) -> None:
        self._writer = writer
        self._reader = reader
        self._shared = shared

    async def all(self) -> Mapping[str, Pause]:
        return await self._reader.run(read)

    async def pause(self, upstream: str, actor: Actor, at: datetime) -> bool:
        step = partial(pause, shared=self._shared, upstream=upstream, actor=actor, at=at)
        return await self._writer.run(step)

    async def resume(self, upstream: str) -> bool:
        return await self._writer.run(partial(resume, upstream=upstream))
