"""Acts of people in SQLite: the statements, and the store that runs them."""

from datetime import datetime
from functools import partial
from typing import Final

import apsw
import orjson

from relay.spool.audit import MAX_ACTS, Act, Actor
from relay.spool.sqlite import events
from relay.spool.sqlite.reader import Reader
from relay.spool.sqlite.writer import Writer

_ADD: Final = """
INSERT INTO audit (at, actor, origin, act, detail) VALUES (:at, :actor, :origin, :act, :detail)
"""

# Numbers grow, so that this is a range of the table itself.
_CROWDED: Final = "DELETE FROM audit WHERE n <= (SELECT max(n) FROM audit) - :most"

_NEWEST: Final = """
SELECT at, actor, origin, act, detail FROM audit INDEXED BY audit_at
WHERE at >= :since AND (:actor IS NULL OR actor = :actor) ORDER BY at DESC, n DESC LIMIT :limit
"""


def add(connection: apsw.Connection, act: Act, most: int = MAX_ACTS) -> None:
    """Keep one, and remove what is older than the newest `most`; both or neither."""
    values = {
        "at": events.micros(act.at),
        "actor": act.actor.value,
        "origin": act.origin,
        "act": act.name,
        "detail": orjson.dumps(act.detail).decode(),
    }
    with connection:
        connection.execute(_ADD, values)
        connection.execute(_CROWDED, {"most": most})


def newest(
    connection: apsw.Connection,
    limit: int,
    since: datetime | None = None,
    actor: Actor | None = None,
) -> tuple[Act, ...]:
    """Return up to `limit`, the newest first."""
    values: events.Parameters = {
        "limit": limit,
        "since": events.EARLIEST if since is None else events.micros(since),
        "actor": None if actor is None else actor.value,
    }
    return tuple(
        Act(events.moment(at), Actor(actor), origin, act, orjson.loads(detail))
        for at, actor, origin, act, detail in events.fetch(connection, _NEWEST, values)
    )


class SqliteAudit:
    """A `relay.spool.audit.AuditStore`; open as long as its spool is."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def add(self, act: Act) -> None:
        await self._writer.run(partial(add, act=act))

    async def newest(
        self, limit: int, *, since: datetime | None = None, actor: Actor | None = None
    ) -> tuple[Act, ...]:
        return await self._reader.run(partial(newest, limit=limit, since=since, actor=actor))
