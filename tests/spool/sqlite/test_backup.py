"""A copy of a spool that others work on: whole, checked, or not there at all."""

import stat
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite import backup, database
from tests.spool.conftest import PATIENCE, FailingSync


def silent(_: int, __: int) -> None:
    """Nobody looks on."""


def rows(path: Path) -> list[tuple[object, ...]]:
    connection = database.open_reading(path, PATIENCE)
    try:
        return [tuple(row) for row in connection.execute("SELECT * FROM tallies ORDER BY 1, 2")]
    finally:
        connection.close()


def left_over(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def test_a_copy_holds_what_was_stored(
    path: Path, connection: apsw.Connection, tmp_path: Path
) -> None:
    connection.execute("INSERT INTO tallies VALUES (1, 1, 5)")
    target = tmp_path / "backups" / "relay.db"
    target.parent.mkdir()
    copied = backup.copy(path, target, silent)
    assert copied == backup.Copied(target.stat().st_size, database.newest_of(database.scripts()))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert left_over(target.parent) == ["relay.db"]
    assert rows(target) == [(1, 1, 5)]


def test_writes_meanwhile_neither_wait_nor_change_the_copy(
    path: Path, connection: apsw.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit of another connection between two steps would make SQLite start again."""
    monkeypatch.setattr(backup, "_STEP", 1)
    connection.execute("INSERT INTO tallies VALUES (1, 1, 5)")
    steps = []

    def write(done: int, pages: int) -> None:
        steps.append((done, pages))
        connection.execute("UPDATE tallies SET deliveries = deliveries + 1")

    backup.copy(path, tmp_path / "copy.db", write)
    assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)]
    assert len(steps) > 10
    assert rows(tmp_path / "copy.db") == [(1, 1, 5)]
    assert rows(path) == [(1, 1, 5 + len(steps))]


def test_an_older_copy_is_replaced(path: Path, connection: apsw.Connection, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    backup.copy(path, target, silent)
    connection.execute("INSERT INTO tallies VALUES (1, 1, 5)")
    backup.copy(path, target, silent)
    assert rows(target) == [(1, 1, 5)]


@pytest.mark.parametrize("name", ["relay.db", "relay.db-wal", "relay.db-shm", "relay.db-ballast"])
@pytest.mark.parametrize("linked", [False, True])
def test_the_spool_itself_is_never_written_over(name: str, linked: bool, path: Path) -> None:
    target = path.parent / name
    if linked:
        target = path.parent / "elsewhere"
        target.symlink_to(path.parent / name)
    with pytest.raises(SpoolUnavailable, match="belongs to the spool itself"):
        backup.copy(path, target, silent)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("listen: []"),
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b""),
        lambda path: apsw.Connection(str(path)).execute("CREATE TABLE other (id)"),
    ],
    ids=["text", "directory", "empty", "another database"],
)
def test_what_is_no_copy_of_a_spool_is_kept(
    make: Callable[[Path], object], path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "mine"
    make(target)
    before = target.read_bytes() if target.is_file() else None
    with pytest.raises(SpoolUnavailable, match=r"no copy of a spool|Is a directory"):
        backup.copy(path, target, silent)
    assert (target.read_bytes() if target.is_file() else None) == before


def test_a_place_that_is_not_there_is_told(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match=r"cannot write .*No such file"):
        backup.copy(path, tmp_path / "none" / "copy.db", silent)


def test_what_ends_it_leaves_the_older_copy(path: Path, tmp_path: Path) -> None:
    def interrupt(_: int, __: int) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "backups" / "copy.db"
    target.parent.mkdir()
    backup.copy(path, target, silent)
    before = target.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        backup.copy(path, target, interrupt)
    assert left_over(target.parent) == ["copy.db"]
    assert target.read_bytes() == before


def test_what_a_killed_one_left_is_removed_and_what_another_writes_is_not(
    path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "backups" / "copy.db"
    target.parent.mkdir()
    (target.parent / ".copy.db.k1ll3d").write_bytes(b"half a copy")
    (target.parent / ".copied").write_bytes(b"of somebody else")
    seen: list[list[str]] = []

    def another(_: int, __: int) -> None:
        seen.append(left_over(target.parent))
        if len(seen) == 1:
            backup.copy(path, target, another)

    backup.copy(path, target, another)
    # The one within the other left that one's file alone.
    assert [len(names) for names in seen[:2]] == [2, 3]
    assert left_over(target.parent) == [".copied", "copy.db"]


def test_a_damaged_spool_makes_no_copy(path: Path, tmp_path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 4096)
        file.write(b"\xff" * 4096)
    target = tmp_path / "backups" / "copy.db"
    target.parent.mkdir()
    with pytest.raises(SpoolUnavailable, match="damaged"):
        backup.copy(path, target, silent)
    assert left_over(target.parent) == []


def test_a_disk_that_cannot_sync_makes_no_copy(
    failing: FailingSync, path: Path, tmp_path: Path
) -> None:
    failing.suffix = ""
    target = tmp_path / "backups" / "copy.db"
    target.parent.mkdir()
    with pytest.raises(SpoolUnavailable, match=r"the copy to .* cannot be made"):
        backup.copy(path, target, silent)
    assert left_over(target.parent) == []
