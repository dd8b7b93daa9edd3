from pathlib import Path

from relay.spool._sqlite.ballast import Ballast


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
    ballast.remove()
    assert not ballast.spent
    assert list(tmp_path.iterdir()) == []
