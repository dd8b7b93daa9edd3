"""The spool in one SQLite file: for one machine, with as many processes as wanted.

An event is acknowledged after the write-ahead log that holds it has been synced. What waits at
that moment is committed together, so many senders share one sync.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from relay.clock import Clock
from relay.errors import SpoolUnavailable
from relay.model import Decision, Event, Lease, Outcome, VerifiedDelivery
from relay.spool import (
    Claimed,
    Conflict,
    Duplicate,
    Page,
    Query,
    Record,
    SpoolStats,
    Stored,
)
from relay.spool._sqlite import connections, files, history, intake, leases, rows, upkeep
from relay.spool._sqlite.bells import Bells
from relay.spool._sqlite.faults import Soundness
from relay.spool._sqlite.migrations import Migrated
from relay.spool._sqlite.reader import Reader
from relay.spool._sqlite.writer import Writer

__all__ = ["Migrated", "SqliteSpool", "migrate", "open_spool"]

# How long a write waits for another process's. Work may wait for one such turn and then take its
# own, and a sender must be answered within four seconds.
_PATIENCE: Final = timedelta(seconds=1.5)

# How often to look for work that another process stored.
_LOOK: Final = 1.0


def migrate(path: Path) -> Migrated:
    """Bring the tables in this file up to date, and make it if it is not there.

    Raises:
        SpoolUnavailable: it cannot be used, is not a spool, or is one of a newer version.
    """
    return connections.prepare(path, _PATIENCE)


async def open_spool(path: Path, clock: Clock, *, patience: timedelta = _PATIENCE) -> "SqliteSpool":
    """Return the spool in this file, made and migrated as needed.

    patience: how long an operation may wait for a lock that another process holds.

    Raises:
        SpoolUnavailable: as `migrate`; or what is written there would not be durable.
    """
    return await asyncio.to_thread(_open, path, clock, patience)
