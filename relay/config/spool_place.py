"""Where the spool lies when the file does not say: the state directory of the service.

A file that is alone in `/etc`, as beside the systemd unit and in the image, starts with it.
"""

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relay.config.settings import Settings, SqliteSpool
from relay.config.yaml_document import Location

#: The state directory of an installed service, which the systemd unit and the image make.
SYSTEM: Final = Path("/var/lib/relay")

#: The file of the spool, in whatever directory.
NAME: Final = "relay.db"

#: The key that says another place.
PATH: Final = ("spool", "path")

_WRITABLE: Final = os.W_OK | os.X_OK


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """The directory of the spool, and why it is this one."""

    directory: Path
    why: str


def chosen(environ: Mapping[str, str], base: Path, system: Path = SYSTEM) -> SpoolPlace:
    """Return the place of a spool of which `path` is not set.

    It is the first directory of `$STATE_DIRECTORY`, else `system` where it is writable, else
    `base`.
    A spool that lies beside the file already stays there while there is none in the other place:
    what was acknowledged lies in it.

    base: the directory of the configuration file.
    """
    first = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if first:
        place = SpoolPlace(Path(first), "$STATE_DIRECTORY")
    elif system.is_dir() and os.access(system, _WRITABLE, effective_ids=True):
        place = SpoolPlace(system, f"{system} is there and writable")
    else:
        return SpoolPlace(base, "beside the file")
    if _holds_spool(base) and not _holds_spool(place.directory):
        return SpoolPlace(base, f"a spool lies beside the file, and none in {place.directory}")
    return place


def place_spool(
    settings: Settings, environ: Mapping[str, str], base: Path, written: Container[Location]
) -> Settings:
    """Return the settings with the spool in its place, and the state beside it.

    written: the places that the file holds; what stands there stays as it is.
    """
    spool = settings.spool
    if not isinstance(spool, SqliteSpool) or PATH in written:
        return settings
    directory = chosen(environ, base).directory
    changes: dict[str, object] = {"spool": spool.model_copy(update={"path": directory / NAME})}
    if ("state_dir",) not in written:
        changes["state_dir"] = directory
    return settings.model_copy(update=changes)


def _holds_spool(directory: Path) -> bool:
    try:
        return (directory / NAME).is_file()
    except OSError:
        return False
