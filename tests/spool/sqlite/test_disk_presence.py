from pathlib import Path

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite.disk import ProcessLock


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
