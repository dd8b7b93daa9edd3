"""A disk that loses power: from the calls of a process, what may lie on it at any moment. Pure.

Kept is what a sync that came back had to cover. Of everything else any part may have reached the
disk, in any order, down to single sectors; so may a longer length without the content. A name
that was made or removed stays so for certain once its directory has been synced, and names change
in order, as in a journalling file system.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
from random import Random
from typing import Final

from tests.harness.traced_node import Call

SECTOR: Final = 512

_SYNCS: Final = frozenset({"fsync", "fdatasync"})


class Fate(StrEnum):
    """What becomes of one file's unsynced changes."""

    NOTHING = "nothing of them is there"
    ALL = "all of them are there"
    PREFIX = "those before some moment, the last one torn"
    SECTORS = "any sectors of any of them"
    LENGTHS = "only the lengths, with zeros instead of content"


@dataclass(frozen=True, slots=True)
class _Change:
    """Bytes at an offset, or a new length."""

    began: int
    ended: int | None
    offset: int
    data: bytes | None


@dataclass(slots=True)
class _File:
    kept: bytearray = field(default_factory=bytearray)
    pending: list[_Change] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A name that was made, for this file, or removed."""

    ended: int
    name: str
    file: _File | None


class Disk:
    """One directory. `moments` walks through the calls; `cut` is what a power cut may leave."""

    def __init__(self, directory: PurePath, names: Iterable[str]) -> None:
        """Watch these names in this directory; it is empty, and on disk, to begin with."""
        self._directory = directory
        self._watched = frozenset(names)
        self._now: dict[str, _File] = {}
        self._kept: dict[str, _File] = {}
        self._entries: list[_Entry] = []

    def moments(self, calls: Sequence[Call]) -> Iterator[int]:
        """Take the calls in; yield each place in the log at which the disk may have changed."""
        steps = [(call.began, 0, call) for call in calls]
        steps += [(call.ended, 1, call) for call in calls if call.ended is not None]
        for moment, half, call in sorted(steps, key=lambda step: step[:2]):
            changed = self._ended(call) if half else self._began(call)
            if changed:
                yield moment

    def cut(self, dice: Random, fates: tuple[Fate, ...] = tuple(Fate)) -> dict[str, bytes]:
        """Return files as they may be found after a power cut now."""
        names = dict(self._kept)
        for entry in self._entries[: dice.randint(0, len(self._entries))]:
            _rename(names, entry)
        return {name: _survived(file, dice, dice.choice(fates)) for name, file in names.items()}

    def whole(self) -> dict[str, bytes]:
        """Return the files as the process sees them now."""
        dice = Random(0)
        return {name: _survived(file, dice, Fate.ALL) for name, file in self._now.items()}

    # ---- calls ------------------------------------------------------------------------------

    def _began(self, call: Call) -> bool:
        """A write may reach the disk from here on."""
        file = self._file(call)
        if file is None:
            return False
        if call.name == "pwrite64":
            data = call.data if call.result < 0 else call.data[: call.result]
            file.pending.append(_Change(call.began, call.ended, call.numbers[-1], data))
        elif call.name == "ftruncate":
            file.pending.append(_Change(call.began, call.ended, call.numbers[-1], None))
        elif call.name in {"write", "writev", "pwritev", "fallocate"}:
            raise AssertionError(
                f"line {call.began}: the model knows no {call.name} of {call.file}"
            )
        return call.name in {"pwrite64", "ftruncate"}

    def _ended(self, call: Call) -> bool:
        if not call.worked or call.ended is None:
            return False
        if call.name in {"openat", "unlink", "unlinkat"}:
            return self._named(call)
        if call.name not in _SYNCS:
            return False
        if call.file == str(self._directory):
            self._keep_names(call)
            return True
        file = self._file(call)
        if file is not None:
            _keep(file, call.began)
        return file is not None

    def _named(self, call: Call) -> bool:
        path = PurePath(call.data.decode())
        if path.parent != self._directory or path.name not in self._watched:
            return False
        assert call.ended is not None
        if call.name != "openat":
            self._now.pop(path.name, None)
            self._entries.append(_Entry(call.ended, path.name, None))
            return True
        assert "O_TRUNC" not in call.flags
        if path.name in self._now or "O_CREAT" not in call.flags:
            return False
        self._now[path.name] = _File()
        self._entries.append(_Entry(call.ended, path.name, self._now[path.name]))
        return True

    def _keep_names(self, sync: Call) -> None:
        covered = [entry for entry in self._entries if entry.ended < sync.began]
        for entry in covered:
            _rename(self._kept, entry)
        self._entries = self._entries[len(covered) :]

    def _file(self, call: Call) -> _File | None:
        path = PurePath(call.file)
        return self._now.get(path.name) if path.parent == self._directory else None


def _rename(names: dict[str, _File], entry: _Entry) -> None:
    if entry.file is None:
        names.pop(entry.name, None)
    else:
        names[entry.name] = entry.file


def _keep(file: _File, before: int) -> None:
    """Make certain what had been written before a sync began."""
    pending = []
    for change in file.pending:
        if change.ended is not None and change.ended < before:
            _apply(file.kept, change)
        else:
            pending.append(change)
    file.pending = pending


def _apply(content: bytearray, change: _Change) -> None:
    if change.data is None:
        _lengthen(content, change.offset)
        del content[change.offset :]
        return
    end = change.offset + len(change.data)
    _lengthen(content, end)
    content[change.offset : end] = change.data


def _lengthen(content: bytearray, length: int) -> None:
    content.extend(bytes(max(0, length - len(content))))


def _survived(file: _File, dice: Random, fate: Fate) -> bytes:
    content = bytearray(file.kept)
    for change in _chosen(file.pending, dice, fate):
        _apply(content, change)
    return bytes(content)


def _chosen(pending: list[_Change], dice: Random, fate: Fate) -> Iterator[_Change]:
    match fate:
        case Fate.NOTHING:
            return
        case Fate.ALL:
            yield from pending
        case Fate.PREFIX:
            yield from _prefix(pending, dice)
        case Fate.SECTORS:
            share = dice.choice((0.1, 0.5, 0.9, 0.99))
            pieces = (piece for change in pending for piece in _sectors(change))
            yield from (piece for piece in pieces if dice.random() < share)
        case Fate.LENGTHS:
            yield from (_length(change) for change in pending if dice.random() < 0.5)


def _sectors(change: _Change) -> Iterator[_Change]:
    """Return a change in the pieces that the disk writes whole."""
    if change.data is None:
        yield change
        return
    place, end = change.offset, change.offset + len(change.data)
    while place < end:
        stop = min(end, (place // SECTOR + 1) * SECTOR)
        piece = change.data[place - change.offset : stop - change.offset]
        yield _Change(change.began, change.ended, place, piece)
        place = stop


def _prefix(pending: list[_Change], dice: Random) -> Iterator[_Change]:
    number = dice.randint(0, len(pending))
    yield from pending[:number]
    for last in pending[number : number + 1]:
        sectors = list(_sectors(last))
        yield from sectors[: dice.randint(0, len(sectors))]


def _length(change: _Change) -> _Change:
    """Return what a change does to the length; what is there already stays."""
    if change.data is None:
        return change
    return _Change(change.began, change.ended, change.offset + len(change.data), b"")
