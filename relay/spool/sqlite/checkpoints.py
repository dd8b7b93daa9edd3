"""Checkpoints: the write-ahead log is moved into the database, and cut where it holds tokens."""

from collections.abc import Callable
from time import monotonic
from typing import Final

import apsw

from relay.spool.sqlite.database import StoreHealth
from relay.spool.sqlite.events import Tables

# Seconds between two times that the log is cut.
_CUT_INTERVAL: Final = 10.0


class Checkpoints:
    """Those of one connection that writes.

    SQLite's own checkpoints ignore a sync that fails; the next one may then succeed with pages
    missing, and drop the log that still had them.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        shared: Tables,
        health: StoreHealth,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take the parts. clock: monotonic seconds."""
        self._connection, self._shared = connection, shared
        self._health, self._clock = health, clock
        self._cut_at = clock() - _CUT_INTERVAL

    def run(self, *, full: bool) -> None:
        """Make one where the log is full; cut it soon after a token in it has been masked.

        The database has no trace of such a token, but the log keeps what was written before until
        something else is written there. While somebody reads, it cannot be cut: later.
        """
        if self._health.broken:
            return
        if self._shared.masked and self._clock() - self._cut_at >= _CUT_INTERVAL:
            self._cut()
        elif full:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _cut(self) -> None:
        self._cut_at = self._clock()
        patience = self._connection.pragma("busy_timeout")
        self._connection.pragma("busy_timeout", 0)
        try:
            if self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE):
                self._shared.masked.clear()
        finally:
            self._connection.pragma("busy_timeout", patience)

    def _checkpoint(self, mode: int) -> bool:
        try:
            self._connection.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            return False
        except apsw.Error as error:
            self._health.classify(error, self._connection)
            return False
        return True
