"""The refusals of a spool in one SQLite file, through the spool's own writer and reader."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from relay.errors import Reason
from relay.kept import Bounds, Kept, RefusalPage, RefusalQuery, Refused
from relay.spool._sqlite import refusals
from relay.spool._sqlite.reader import Reader
from relay.spool._sqlite.writer import Writer


class SqliteRefusals:
    """A `relay.kept.RefusalStore`; open as long as its spool is."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def keep(self, refused: Sequence[Refused], bounds: Bounds) -> None:
        kept = [refusals.parameters(each) for each in refused]
        # A full disk keeps its last room for what was acknowledged.
        await self._writer.run(partial(refusals.keep, refused=kept, bounds=bounds), intake=True)

    async def page(self, query: RefusalQuery) -> RefusalPage:
        return await self._reader.run(partial(refusals.page, query=query))

    async def get(self, refusal_id: str) -> Kept | None:
        return await self._reader.run(partial(refusals.get, refusal_id=refusal_id))

    async def still(self, refusal_id: str, reason: Reason, detail: str, at: datetime) -> None:
        note = partial(refusals.still, refusal_id=refusal_id, reason=reason, detail=detail, at=at)
        await self._writer.run(note)

    async def released(self, refusal_id: str, event_id: str, at: datetime) -> None:
        note = partial(refusals.released, refusal_id=refusal_id, event_id=event_id, at=at)
        await self._writer.run(note)

    async def prune(self, before: datetime, limit: int) -> int:
        return await self._writer.run(partial(refusals.prune, before=before, limit=limit))
