"""The model of a disk that loses power."""

from pathlib import PurePath
from random import Random

from tests.harness.disk import SECTOR, Disk, Fate
from tests.harness.syscalls import Call

_PATH = "/d/file"


class Script:
    """Calls one after the other, each over before the next one begins."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def _add(self, name: str, file: str, data: bytes, *numbers: int, flags: str = "") -> "Script":
        at = 2 * len(self.calls)
        result = len(data) if name == "pwrite64" else 0
        made = Call(1, at, at + 1, name, file, data, numbers, frozenset(flags.split()), result)
        self.calls.append(made)
        return self

    def create(self) -> "Script":
        return self._add("openat", "", _PATH.encode(), flags="O_RDWR O_CREAT")

    def remove(self) -> "Script":
        return self._add("unlink", "", _PATH.encode())

    def write(self, data: bytes, offset: int = 0) -> "Script":
        return self._add("pwrite64", _PATH, data, len(data), offset)

    def cut_to(self, length: int) -> "Script":
        return self._add("ftruncate", _PATH, b"", length)

    def sync(self, path: str = _PATH) -> "Script":
        return self._add("fdatasync", path, b"")

    def disk(self) -> Disk:
        disk = Disk(PurePath("/d"), ["file"])
        list(disk.moments(self.calls))
        return disk

    def outcomes(self, *fates: Fate) -> set[bytes | None]:
        """Return everything that may be found in the file; None when it is not there."""
        disk, dice = self.disk(), Random(1)
        return {disk.cut(dice, fates or tuple(Fate)).get("file") for _ in range(300)}


def made() -> Script:
    return Script().create().sync("/d")


def test_what_was_synced_stays() -> None:
    assert made().write(b"abc").sync().outcomes() == {b"abc"}


def test_what_was_not_synced_may_be_there_or_not() -> None:
    outcomes = made().write(b"abc").sync().write(b"xyz").outcomes()
    assert outcomes == {b"abc", b"xyz"}


def test_a_new_name_may_be_missing_until_its_directory_is_synced() -> None:
    assert None in Script().create().write(b"abc").sync().outcomes()
    assert None not in Script().create().write(b"abc").sync().sync("/d").outcomes()


def test_a_removed_file_may_come_back() -> None:
    kept = made().write(b"abc").sync().remove()
    assert kept.outcomes() == {b"abc", None}
    assert kept.sync("/d").outcomes() == {None}


def test_sectors_arrive_one_by_one_in_any_order() -> None:
    one, two = b"1" * SECTOR, b"2" * SECTOR
    outcomes = made().write(bytes(2 * SECTOR)).sync().write(one + two).outcomes(Fate.SECTORS)
    assert outcomes == {
        bytes(2 * SECTOR),
        one + bytes(SECTOR),
        bytes(SECTOR) + two,
        one + two,
    }


def test_a_torn_write_ends_at_the_edge_of_a_sector_of_the_disk() -> None:
    outcomes = made().write(b"x" * SECTOR, offset=SECTOR - 24).outcomes(Fate.PREFIX)
    lengths = {len(outcome) for outcome in outcomes if outcome is not None}
    assert lengths == {0, SECTOR, 2 * SECTOR - 24}


def test_a_file_may_be_long_before_it_has_content() -> None:
    assert bytes(3) in made().write(b"abc").outcomes(Fate.LENGTHS)


def test_a_file_that_was_cut_short_may_be_long_again() -> None:
    kept = made().write(b"abc").sync().cut_to(1)
    assert kept.outcomes() == {b"abc", b"a"}
    assert kept.sync().outcomes() == {b"a"}


def test_a_sync_covers_only_writes_that_were_over_before_it() -> None:
    script = made().write(b"abc")
    late = script.calls[-1]
    script.calls[-1] = Call(2, late.began, 99, *(getattr(late, name) for name in _REST))
    assert script.sync().outcomes() == {b"", b"abc", bytes(3)}


def test_what_the_process_sees_is_everything() -> None:
    assert made().write(b"abc").write(b"d", offset=3).disk().whole() == {"file": b"abcd"}


_REST = ("name", "file", "data", "numbers", "flags", "result")
