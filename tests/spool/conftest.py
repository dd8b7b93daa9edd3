"""A spool's file, and a disk that fails when told to."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from relay.spool.sqlite import database
from relay.spool.sqlite.events import Tables, open_tables

PATIENCE = timedelta(milliseconds=50)


class FailingSync(apsw.VFS):
    """The operating system's files, of which those that end in `suffix` cannot be synced."""

    def __init__(self) -> None:
        super().__init__("failing", "unix", makedefault=True)
        self.suffix: str | None = None

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(
        self, vfs: FailingSync, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__("unix", name, flags)
        self._vfs = vfs
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else name or ""

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._vfs.suffix is not None and self._name.endswith(self._vfs.suffix):
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)


@pytest.fixture
def failing() -> Iterator[FailingSync]:
    """Give a disk whose syncs can be made to fail; everything opened from now on lies on it."""
    vfs = FailingSync()
    yield vfs
    vfs.unregister()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file to copy: making one takes a dozen syncs."""
    path = tmp_path_factory.mktemp("spool") / "relay.db"
    database.prepare(path, PATIENCE)
    return path


@pytest.fixture
def path(prepared: Path, tmp_path: Path) -> Path:
    """Give the file of a spool that has been migrated and is empty."""
    return Path(shutil.copy(prepared, tmp_path / "relay.db"))


@pytest.fixture
def connection(path: Path) -> Iterator[apsw.Connection]:
    """Give a connection as the writer has it."""
    connection = database.open_writing(path, PATIENCE)
    yield connection
    connection.close()


@pytest.fixture
def shared(connection: apsw.Connection) -> Tables:
    """Give what statements need besides the connection."""
    return open_tables(connection)
