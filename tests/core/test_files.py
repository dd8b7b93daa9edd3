"""A file that is another than before is seen, however it came there."""

import os
from pathlib import Path

import pytest

from relay.core.files import fingerprint, read, refuse_irregular, replace, stamps


def test_a_file_that_is_left_alone_stays_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    assert fingerprint([path]) == fingerprint([path])


def test_writing_replacing_and_removing_are_changes(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    seen = [fingerprint([path])]
    path.write_text("text")
    seen.append(fingerprint([path]))
    path.write_text("longer text")
    seen.append(fingerprint([path]))
    other.write_text("longer text")
    # As `cp -p` does it: same size, and times of long ago.
    os.utime(other, ns=(0, 0))
    other.replace(path)
    seen.append(fingerprint([path]))
    assert len(set(seen)) == 4
    path.unlink()
    assert fingerprint([path]) == seen[0] == (None,)


def test_a_link_on_the_way_is_followed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("text")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "file").symlink_to("..data/file")
    before = fingerprint([tmp_path / "file"])
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert fingerprint([tmp_path / "file"]) != before


def test_what_can_be_no_path_is_no_file() -> None:
    assert fingerprint([Path("a\0b")]) == (None,)


def test_a_look_says_which_file_is_which(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    found = stamps([path, tmp_path / "none"])
    assert found == {path: fingerprint([path])[0], tmp_path / "none": None}


def test_a_file_is_read_so_far(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"text")
    assert (read(path, 100), read(path, 2)) == (b"text", b"te")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, Path("/dev/null")):
        with pytest.raises(OSError, match="not a regular file") as caught:
            refuse_irregular(path)
        assert (caught.value.filename, caught.value.strerror) == (
            str(path),
            "it is not a regular file",
        )
        with pytest.raises(OSError, match="not a regular file"):
            read(path, 1)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none", 1)
    with pytest.raises(ValueError, match="null"):
        read(Path("a\0b"), 1)


def test_a_file_is_replaced_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    path.chmod(0o644)
    replace(path, b"after")
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_cannot_be_replaced_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    (path / "inner").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace(path, b"after")
    assert [*tmp_path.iterdir()] == [path]
