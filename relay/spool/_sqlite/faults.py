"""Which errors of the store pass by themselves, and which end this spool for good."""

import errno
from typing import Final

import apsw

from relay.errors import SpoolUnavailable
from relay.spool import SpoolBroken

# A write that finds no room has stored nothing, and there may be room later.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# After a failed sync the kernel may call the lost pages clean and let the next sync succeed.
_SYNC: Final = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})

_BREAKING: Final = (
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.FormatError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.InternalError,
    apsw.MisuseError,
)


def no_room(error: apsw.Error, system_errno: int) -> bool:
    """Return whether a write found the disk full, or a quota or a limit on files used up."""
    if isinstance(error, apsw.FullError):
        return True
    return (
        isinstance(error, apsw.IOError)
        and getattr(error, "extendedresult", apsw.SQLITE_OK) not in _SYNC
        and system_errno in _NO_ROOM
    )


def passes(error: apsw.Error, system_errno: int) -> bool:
    """Return whether later work may succeed; `system_errno` is the connection's, read at once."""
    extended = getattr(error, "extendedresult", apsw.SQLITE_OK)
    if extended in _SYNC:
        return False
    if extended == apsw.SQLITE_IOERR_NOMEM:
        return True
    if no_room(error, system_errno):
        return True
    return not isinstance(error, _BREAKING)


def unavailable(error: apsw.Error | OSError) -> SpoolUnavailable:
    """Return this package's error for one of SQLite or of the operating system."""
    return SpoolUnavailable(f"the spool cannot be used now: {error}")


class Soundness:
    """Whether this spool can be trusted. What one connection finds out ends them all."""

    def __init__(self) -> None:
        self._why: str | None = None

    @property
    def broken(self) -> bool:
        return self._why is not None

    def check(self) -> None:
        """Return if the spool may be used.

        Raises:
            SpoolBroken: something was found that does not pass.
        """
        if self._why is not None:
            raise SpoolBroken(self._why)

    def judge(self, error: apsw.Error, connection: apsw.Connection) -> SpoolUnavailable:
        """Return what to raise for an error that this connection has just met."""
        if passes(error, connection.system_errno):
            return unavailable(error)
        return self.condemn(str(error))

    def condemn(self, why: str) -> SpoolBroken:
        """End the spool; return what to raise. The first reason stays."""
        if self._why is None:
            self._why = f"the spool is broken and needs a restart: {why}"
        return SpoolBroken(self._why)
