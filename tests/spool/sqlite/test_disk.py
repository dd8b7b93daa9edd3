import stat
from pathlib import Path

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite import disk


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    disk.create(tmp_path / "relay.db")
    assert stat.S_IMODE((tmp_path / "relay.db").stat().st_mode) == 0o600


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.write_text("mine")
    path.chmod(0o640)
    disk.create(path)
    assert path.read_text() == "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match=r"none/relay\.db: No such file or directory"):
        disk.create(tmp_path / "none" / "relay.db")


def test_a_file_that_was_replaced_is_another_one(tmp_path: Path) -> None:
    path, spare = tmp_path / "relay.db", tmp_path / "spare"
    path.touch()
    spare.touch()
    watch = disk.FileIdentity(path)
    path.write_text("grown")
    assert watch.holds()
    spare.rename(path)
    assert not watch.holds()
    path.unlink()
    assert not watch.holds()


def test_the_size_counts_what_lies_beside(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.write_bytes(b"1234")
    assert disk.size(path) == 4
    (tmp_path / "relay.db-wal").write_bytes(b"12")
    (tmp_path / "relay.db-shm").write_bytes(b"1")
    assert disk.size(path) == 7
    assert disk.free(path) > 0
