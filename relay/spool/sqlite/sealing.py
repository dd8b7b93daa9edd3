"""The keys of a spool in SQLite, through its own writer and reader."""

from collections.abc import Mapping, Sequence
from functools import partial

from relay.core.sealing import SealingKey
from relay.spool.sqlite import keyring
from relay.spool.sqlite.keyring import Keyring
from relay.spool.sqlite.reader import Reader
from relay.spool.sqlite.writer import Writer


class SqliteSealing:
    """A `relay.spool.sealing.SealingStore`; open as long as its spool is."""

    def __init__(self, writer: Writer, reader: Reader, keys: Keyring) -> None:
        self._writer = writer
        self._reader = reader
        self._keys = keys

    async def use(self, keys: Sequence[SealingKey]) -> None:
        # What is sealed is so by the writer: none is with a key that has been found superfluous.
        await self._writer.run(partial(self._keys.use, keys=keys))

    async def rows(self) -> Mapping[str, int]:
        return await self._reader.run(keyring.counts)
