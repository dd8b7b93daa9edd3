from pathlib import Path

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.sqlite.disk import Presence


def test_the_first_one_is_alone_and_the_second_is_not(tmp_path: Path) -> None:
    first, second = Presence(tmp_path / "mark"), Presence(tmp_path / "mark")
    assert first.enter()
    first.settle()
    assert not second.enter()
    first.leave()
    second.leave()


def test_whoever_comes_when_all_have_left_is_alone(tmp_path: Path) -> None:
    first, second = Presence(tmp_path / "mark"), Presence(tmp_path / "mark")
    first.enter()
    first.leave()
    assert second.enter()
    second.leave()


def test_who_was_never_there_leaves_nothing(tmp_path: Path) -> None:
    Presence(tmp_path / "mark").leave()
    assert not (tmp_path / "mark").exists()


def test_leaving_twice_is_fine(tmp_path: Path) -> None:
    presence = Presence(tmp_path / "mark")
    presence.enter()
    presence.leave()
    presence.leave()


def test_a_mark_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match="cannot lock"):
        Presence(tmp_path / "nowhere" / "mark").enter()
