"""Where things stand in a configuration file, and what is wrong there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from relay.errors import Problem

Place = tuple[str | int, ...]

_LONGEST_SHOWN = 80


class Position(NamedTuple):
    """A line and a column, both counted from 1."""

    line: int
    column: int


TOP = Position(1, 1)


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake.

    needs: other places that must be sound for this to be a mistake of its own.
    at_key: the key is wrong, not its value.
    position: where it stands, when `place` alone does not tell.
    """

    place: Place
    message: str
    needs: tuple[Place, ...] = ()
    at_key: bool = False
    position: Position | None = None

    def rests_on(self, unsound: set[Place]) -> bool:
        """Tell whether any value that this speaks of is known to be wrong already."""
        values = self.needs if self.at_key else (self.place, *self.needs)
        return any(_overlap(place, bad) for place in values for bad in unsound)


@dataclass(frozen=True, slots=True)
class Source:
    """The file that settings came from.

    file: its name as the user gave it. base: what relative paths start from.
    values, keys: where each value and each key stands.
    literals: places of secrets that stand in the file itself.
    """

    file: str
    base: Path
    values: Mapping[Place, Position] = field(default_factory=dict, repr=False)
    keys: Mapping[Place, Position] = field(default_factory=dict, repr=False)
    literals: frozenset[Place] = frozenset()

    def position(self, place: Place, *, at_key: bool = False) -> Position:
        """Return where this place stands, or the nearest one around it that is in the file."""
        if at_key and place in self.keys:
            return self.keys[place]
        while place and place not in self.values:
            place = place[:-1]
        return self.values.get(place, TOP)

    def problem(self, fault: Fault) -> Problem:
        at = fault.position or self.position(fault.place, at_key=fault.at_key)
        return Problem(self.file, at.line, at.column, dotted(fault.place), fault.message)


def dotted(place: Place) -> str:
    return ".".join(shown(part) if isinstance(part, str) else str(part) for part in place)


def shown(text: str) -> str:
    """Return text from the file in a form that a terminal can be trusted with."""
    return _printable(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…")


def shown_path(path: Path) -> str:
    """Return a path whole, since its end matters most, in a form that a terminal can bear."""
    return _printable(str(path))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _overlap(one: Place, other: Place) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
