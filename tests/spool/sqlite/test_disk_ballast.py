from pathlib import Path

from relay.spool.sqlite.disk import Ballast
from tests.harness.volume import fill, small_volume


def test_it_takes_up_blocks_and_gives_them_back(tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    ballast = Ballast(path)
    assert ballast.hold()
    assert path.stat().st_size == ballast.size
    # A hole would take up no room.
    assert path.stat().st_blocks * 512 >= ballast.size
    assert path.stat().st_mode & 0o777 == 0o600
    ballast.release()
    assert ballast.spent
    assert not path.exists()
    assert ballast.hold()
    assert not ballast.spent


def test_one_that_is_there_is_held_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    path.write_bytes(b"x" * 5000)
    ballast = Ballast(path)
    assert ballast.hold()
    assert (ballast.size, path.stat().st_size) == (5000, 5000)


def test_without_room_there_is_none(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "nowhere" / "ballast")
    assert not ballast.hold()
    assert ballast.spent


def test_removing_it_is_not_need(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast")
    ballast.hold()
    assert ballast.remove()
    assert not ballast.remove()
    assert not ballast.spent
    assert list(tmp_path.iterdir()) == []


def test_what_was_let_go_is_taken_back_whole_or_not_at_all(tmp_path: Path) -> None:
    with small_volume(tmp_path / "volume", 8) as volume:
        ballast = Ballast(volume / "ballast")
        assert ballast.hold()
        size = ballast.size
        taken = fill(volume)
        ballast.release()
        # Its own room is free now, and no more: that is for what is under way.
        assert not ballast.hold()
        assert ballast.spent
        assert not ballast.hold()
        taken.unlink()
        assert ballast.hold()
        assert ballast.size == size


def test_a_volume_that_is_full_from_the_beginning_has_none(tmp_path: Path) -> None:
    with small_volume(tmp_path / "volume", 1) as volume:
        taken = fill(volume)
        ballast = Ballast(volume / "ballast")
        assert not ballast.hold()
        taken.unlink()
        assert ballast.hold()
