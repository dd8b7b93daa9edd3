"""The configured spool: open, create and migrate it. The one place that knows every backend."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from relay.config import PostgresSpool, Settings, SqliteSpool
from relay.config.yaml_document import ConfigIssue, Location
from relay.core.clock import Clock, SystemClock
from relay.core.errors import ConfigError, Problem, SpoolUnavailable
from relay.core.sealing import SealingKey
from relay.spool import Spool, sqlite
from relay.spool.sealing import KeyMissing
from relay.spool.sqlite import backup, migrate, oldest_pending
from relay.spool.sqlite import open_spool as open_sqlite
from relay.spool.sqlite.backup import Copied
from relay.spool.sqlite.database import Migrated
from relay.spool.sqlite.pauses import paused_in


async def open_spool(settings: Settings, clock: Clock | None = None) -> Spool:
    """Open the configured spool, and create it if it does not exist. The caller closes it.

    Raises:
        SpoolUnavailable: it cannot be opened; the message says why.
        ConfigError: rows need a key that is not named.
    """
    try:
        return await open_sqlite(
            _path(settings), clock or SystemClock(), keys=sealing_keys(settings)
        )
    except KeyMissing as missing:
        raise ConfigError([key_problem(settings, missing)]) from None


async def existing_spool(settings: Settings) -> Spool:
    """Open the configured spool for a command, and never create it. The caller closes it.

    Raises:
        SpoolUnavailable: it does not exist, or cannot be opened.
        ConfigError: rows need a key that is not named.
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


def paused_upstreams(settings: Settings) -> set[str]:
    """Return the names of the upstreams that a person has paused. Nothing is written.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be read.
    """
    return paused_in(_path(settings))


# ---- keys -----------------------------------------------------------------------------------


#: The place of the keys in a configuration.
KEYS: Final[Location] = ("spool", "encrypt")


def sealing_keys(settings: Settings) -> tuple[SealingKey, ...]:
    """Return the keys that the spool is sealed with: the first one writes, all read."""
    return tuple(map(SealingKey, settings.spool.encrypt))


def key_problem(settings: Settings, missing: KeyMissing) -> Problem:
    """Return the problem of a configuration that does not name a key which rows need."""
    return settings.source.problem(ConfigIssue(KEYS, str(missing)))


def rows_by_key(settings: Settings) -> dict[str, int]:
    """Return how many rows of the spool each key opens, by its fingerprint. Nothing is written.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be read.
    """
    return sqlite.rows_by_key(_path(settings))


def check_keys(settings: Settings, rows: Mapping[str, int]) -> None:
    """Return if the settings name each key that rows need, by fingerprint.

    Raises:
        ConfigError: they do not.
    """
    named = [key.fingerprint for key in sealing_keys(settings)]
    needed = {each: number for each, number in rows.items() if number and each not in named}
    if needed:
        raise ConfigError([key_problem(settings, KeyMissing.by_rows(needed, named))])


# ---- migrating and copying ------------------------------------------------------------------


def migrate_spool(settings: Settings, advance: Callable[[], None] | None = None) -> Migrated:
    """Bring the spool to the schema of this version; return the versions before and after.

    advance: is called again and again meanwhile.

    Raises:
        SpoolUnavailable: it cannot be done; the message says why, and nothing has changed.
    """
    return migrate(_path(settings), advance)


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
