import errno
import os
import stat
from pathlib import Path

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite import disk
from relay.spool.sqlite.disk import Ballast, ProcessLock
from tests.harness.optional_tools import fill, small_volume

NOT_THERE = os.strerror(errno.ENOENT)


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
    with pytest.raises(SpoolUnavailable, match=r"none/relay\.db: " + NOT_THERE):
        disk.create(tmp_path / "none" / "relay.db")


def test_the_size_counts_what_lies_beside(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.write_bytes(b"1234")
    assert disk.size(path) == 4
    (tmp_path / "relay.db-wal").write_bytes(b"12")
    (tmp_path / "relay.db-shm").write_bytes(b"1")
    assert disk.size(path) == 7
    assert disk.free(path) > 0


# ---- reserved space -------------------------------------------------------------------------


def test_it_takes_up_blocks_and_gives_them_back(tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    ballast = Ballast(path)
    assert ballast.reserve()
    assert path.stat().st_size == ballast.size
    # A hole would take up no room.
    assert path.stat().st_blocks * 512 >= ballast.size
    assert path.stat().st_mode & 0o777 == 0o600
    ballast.release()
    assert ballast.spent
    assert not path.exists()
    assert ballast.reserve()
    assert not ballast.spent


def test_one_that_is_there_is_held_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    path.write_bytes(b"x" * 5000)
    ballast = Ballast(path)
    assert ballast.reserve()
    assert (ballast.size, path.stat().st_size) == (5000, 5000)


def test_without_room_there_is_none(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "nowhere" / "ballast")
    assert not ballast.reserve()
    assert ballast.spent


def test_removing_it_is_not_need(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast")
    ballast.reserve()
    assert ballast.remove()
    assert not ballast.remove()
    assert not ballast.spent
    assert list(tmp_path.iterdir()) == []


def test_what_was_let_go_is_taken_back_whole_or_not_at_all(tmp_path: Path) -> None:
    with small_volume(tmp_path / "volume", 8) as volume:
        ballast = Ballast(volume / "ballast")
        assert ballast.reserve()
        size = ballast.size
        taken = fill(volume)
        ballast.release()
        # Its own room is free now, and no more: that is for what is under way.
        assert not ballast.reserve()
        assert ballast.spent
        assert not ballast.reserve()
        taken.unlink()
        assert ballast.reserve()
        assert ballast.size == size


def test_a_volume_that_is_full_from_the_beginning_has_none(tmp_path: Path) -> None:
    with small_volume(tmp_path / "volume", 1) as volume:
        taken = fill(volume)
        ballast = Ballast(volume / "ballast")
        assert not ballast.reserve()
        taken.unlink()
        assert ballast.reserve()


# ---- process lock ---------------------------------------------------------------------------


def test_the_first_one_is_alone_and_the_second_is_not(tmp_path: Path) -> None:
    first, second = ProcessLock(tmp_path / "mark"), ProcessLock(tmp_path / "mark")
    assert first.acquire()
    first.downgrade()
    assert not second.acquire()
    first.release()
    second.release()


def test_whoever_comes_when_all_have_left_is_alone(tmp_path: Path) -> None:
    first, second = ProcessLock(tmp_path / "mark"), ProcessLock(tmp_path / "mark")
    first.acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_who_was_never_there_leaves_nothing(tmp_path: Path) -> None:
    ProcessLock(tmp_path / "mark").release()
    assert not (tmp_path / "mark").exists()


def test_leaving_twice_is_fine(tmp_path: Path) -> None:
    process_lock = ProcessLock(tmp_path / "mark")
    process_lock.acquire()
    process_lock.release()
    process_lock.release()


def test_a_mark_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match="cannot lock"):
        ProcessLock(tmp_path / "nowhere" / "mark").acquire()
