"""What lies in a spool's files, read as relay itself would read it."""

from collections.abc import Iterable
from pathlib import Path

import apsw

from relay.core.clock import SystemClock
from relay.spool import Query, Record
from relay.spool.sqlite import open_spool
from tests.durability.messages import NAME

_PAGE = 1000


async def empty(path: Path) -> None:
    """Make a spool with nothing in it."""
    await (await open_spool(path, SystemClock())).close()


async def bodies(path: Path) -> dict[str, bytes | None]:
    """Return the body of every event by the transaction in its key; None for one that is damaged.

    Raises:
        SpoolUnavailable: relay could not start on these files.
    """
    spool = await open_spool(path, SystemClock())
    try:
        found: dict[str, bytes | None] = {}
        after: str | None = None
        while True:
            page = await spool.page(Query(limit=_PAGE, after=after))
            for record in page.records:
                kept = await spool.get(record.id)
                event = kept[1] if kept is not None else None
                found[name(record)] = None if event is None else event.body
            after = page.next
            if after is None:
                return found
    finally:
        await spool.close()


def name(record: Record) -> str:
    """Return the id of the transaction that an event of Midtrans is about."""
    found = NAME.search(record.key)
    return record.key if found is None else found[0]


def lost(found: dict[str, bytes | None], wanted: Iterable[tuple[str, bytes]]) -> list[str]:
    """Return the transactions whose body is not there as it was sent."""
    return [each for each, body in wanted if found.get(each) != body]


def sound(path: Path, *, thoroughly: bool) -> str:
    """Return SQLite's own opinion of the file: `ok` or what is wrong."""
    connection = apsw.Connection(str(path))
    try:
        check = "integrity_check" if thoroughly else "quick_check"
        return str(connection.pragma(check))
    finally:
        connection.close()
