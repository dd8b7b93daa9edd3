"""The configured spool: open, create and migrate it. The one place that knows every backend."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from relay.config import PostgresSpool, Settings, SqliteSpool
from relay.core.clock import Clock, SystemClock
from relay.core.errors import SpoolUnavailable
from relay.spool import Spool
from relay.spool.sqlite import backup, migrate, oldest_pending
from relay.spool.sqlite import open_spool as open_sqlite
from relay.spool.sqlite.backup import Copied
from relay.spool.sqlite.database import Migrated


async def open_spool(settings: Settings, clock: Clock | None = None) -> Spool:
    """Open the configured spool, and create it if it does not exist. The caller closes it.

    Raises:
        SpoolUnavailable: it cannot be opened; the message says why.
    """
    return await open_sqlite(_path(settings), clock or SystemClock())


async def existing_spool(settings: Settings) -> Spool:
    """Open the configured spool for a command, and never create it. The caller closes it.

    Raises:
        SpoolUnavailable: it does not exist, or cannot be opened.
    """
    _existing(settings)
    return await open_spool(settings)


def unserved_upstreams(settings: Settings) -> dict[str, datetime]:
    """Return the upstreams that events wait for and that are not configured, and since when.

    Nothing is written, nor migrated.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be read.
    """
    waiting = oldest_pending(_path(settings))
    return {name: since for name, since in waiting.items() if name not in settings.upstreams}


def migrate_spool(settings: Settings) -> Migrated:
    """Bring the spool to the schema of this version; return the versions before and after.

    Raises:
        SpoolUnavailable: it cannot be done; the message says why, and nothing has changed.
    """
    return migrate(_path(settings))


def back_up_spool(settings: Settings, target: Path, advance: Callable[[int, int], None]) -> Copied:
    """Copy the configured spool to a file while it is in use; `relay.spool.sqlite.backup.copy`.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be copied there.
    """
    return backup.copy(_existing(settings), target, advance)


def _existing(settings: Settings) -> Path:
    path = _path(settings)
    if not path.exists():
        raise SpoolUnavailable(f"there is no spool at {path}; `relay run` makes it")
    return path


def _path(settings: Settings) -> Path:
    match settings.spool:
        case SqliteSpool(path=path):
            return path
        case PostgresSpool():
            raise SpoolUnavailable("PostgreSQL is not available in this version")
