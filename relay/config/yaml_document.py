"""YAML 1.2 text to plain data with positions; issues, and suggestions for misspelled words.

Scalars follow the core schema of YAML 1.2: `no`, `0777` with its zero, `12:30:45` and dates are not
what YAML 1.1 makes of them. What is ambiguous or unbounded is refused: tags, merge keys, duplicate
keys, several documents, deep nesting, many aliases.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from relay.config import yaml_mistakes
from relay.core.errors import Problem
from relay.core.visible_text import visible

# ---- locations and issues -------------------------------------------------------------------

Location = tuple[str | int, ...]
#: Where a value stands in the file, as text: "8:11".
Place = Callable[[Location], str]

_MAX_SHOWN = 80
# What a name ends at where name and value stand in one quote.
_KEY_END = re.compile(r"[:=\s]")


class Position(NamedTuple):
    """A line and a column, both counted from 1."""

    line: int
    column: int


TOP = Position(1, 1)


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One mistake.

    needs: other places that must be valid for this to be a mistake of its own.
    at_key: the key is wrong, not its value.
    position: where it is, when `location` alone does not tell.
    """

    location: Location
    message: str
    needs: tuple[Location, ...] = ()
    at_key: bool = False
    position: Position | None = None

    def rests_on(self, unsound: set[Location]) -> bool:
        """Return whether any value that this is about is known to be wrong already."""
        values = self.needs if self.at_key else (self.location, *self.needs)
        return any(_overlap(location, bad) for location in values for bad in unsound)


@dataclass(frozen=True, slots=True)
class SourceMap:
    """The file that settings came from.

    file: its name as the user gave it. base: what relative paths start from.
    values, keys: the position of each value and each key.
    literals: places of secrets that are written in the file itself.
    """

    file: str
    base: Path
    values: Mapping[Location, Position] = field(default_factory=dict, repr=False)
    keys: Mapping[Location, Position] = field(default_factory=dict, repr=False)
    literals: frozenset[Location] = frozenset()

    def position(self, location: Location, *, at_key: bool = False) -> Position:
        """Return the position of this place, or of the nearest one around it in the file."""
        if at_key and location in self.keys:
            return self.keys[location]
        while location and location not in self.values:
            location = location[:-1]
        return self.values.get(location, TOP)

    def problem(self, issue: ConfigIssue) -> Problem:
        at = issue.position or self.position(issue.location, at_key=issue.at_key)
        return Problem(self.file, at.line, at.column, dotted(issue.location), issue.message)


def dotted(location: Location) -> str:
    return ".".join(shown_key(part) if isinstance(part, str) else str(part) for part in location)


def shown(text: str) -> str:
    """Return text from the file, shortened, with control characters escaped for a terminal."""
    return visible(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")


def shown_key(text: str) -> str:
    """Return a key from the file, as `shown`, without a value that stands in one quote with it."""
    name = _KEY_END.split(text, maxsplit=1)[0]
    return shown(text) if name == text else f"{shown(name)}…"


def shown_path(path: Path) -> str:
    """Return a whole path, since its end matters most, with control characters escaped."""
    return visible(str(path))


def _overlap(one: Location, other: Location) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


# ---- parsing --------------------------------------------------------------------------------

MAX_ALIASES = 100
MAX_VALUES = 20_000
MAX_DEPTH = 32

Scalar = str | int | float | bool | None

# YAML 1.2.2, section 10.3.2. Integers of more than 30 digits become floats, which no setting
# takes: int() refuses the longest of them.
_CORE: tuple[tuple[re.Pattern[str], Callable[[str], Scalar]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]{1,30}"), int),
    (re.compile(r"0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (
        re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        lambda text: float(text.replace(".", "")),
    ),
)


class Unreadable(Exception):
    """The text is not YAML, or not what is accepted of it; `issue` says why."""

    def __init__(self, issue: ConfigIssue) -> None:
        super().__init__(issue.message)
        self.issue = issue


@dataclass(slots=True)
class Document:
    """Plain data (sequences are tuples), the position of every value and key, and the issues.

    Of a duplicate key, the first value counts.
    """

    data: object = None
    values: dict[Location, Position] = field(default_factory=dict)
    keys: dict[Location, Position] = field(default_factory=dict)
    issues: list[ConfigIssue] = field(default_factory=list)


class _Mark(Protocol):
    line: int
    column: int


class _Loader(yaml.CSafeLoader):
    """Leaves every scalar as text; `scalar` below decides what it is."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the name and type are PyYAML's


def parse(text: str) -> Document:
    """Read one document. Time and memory are bounded by the limits above.

    Raises:
        Unreadable: it cannot be parsed, or exceeds a limit.
    """
    try:
        _check_limits(text)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        _check_limits_before(text, error)
        raise Unreadable(_syntax(text, error)) from None
    except yaml.reader.ReaderError as error:
        raise Unreadable(_unprintable(text, error)) from None
    document = Document()
    if root is not None:
        document.data = _Builder(document).build(root, ())
    return document


def scalar(text: str) -> Scalar:
    """Return the value of a plain scalar in the core schema of YAML 1.2."""
    for pattern, read in _CORE:
        if pattern.fullmatch(text):
            return read(text)
    return text


def _check_limits(text: str) -> None:
    """Check the parser's events against the limits, before anything is built from them."""
    depth = values = aliases = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            _limit(event, documents > 1, "only one document; remove this one and its ---")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            _limit(event, depth > MAX_DEPTH, f"nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            _limit(event, aliases > MAX_ALIASES, f"more than {MAX_ALIASES} aliases")
        if isinstance(event, yaml.NodeEvent):
            values += 1
            _limit(event, values > MAX_VALUES, f"more than {MAX_VALUES} values")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            _limit(event, event.tag is not None, "tags are not used here; put text in quotes")


def _check_limits_before(text: str, error: yaml.MarkedYAMLError) -> None:
    """Raise for a limit above rather than for the library's error, which reads ahead of its events.

    libyaml looks up to 1,024 characters ahead for the ":" of a key, and from 0.2.6 on stops at a
    depth of its own. What it read until then holds the place where the limit above is reached.
    """
    if error.problem_mark is not None:
        with suppress(yaml.YAMLError):
            _check_limits(text[: error.problem_mark.index])


def _limit(event: yaml.Event, exceeded: bool, message: str) -> None:
    if exceeded:
        raise Unreadable(ConfigIssue((), message, position=_position(event.start_mark)))


class _Builder:
    """Nodes to data. An aliased node is built again at each place, within one budget of values."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._budget = MAX_VALUES

    def build(self, node: Node, location: Location) -> object:
        position = _position(node.start_mark)
        self._budget -= 1
        if self._budget < 0 or len(location) > MAX_DEPTH:
            message = "aliases make this too large; write it out where it is needed"
            raise Unreadable(ConfigIssue((), message, position=position))
        self._document.values[location] = position
        if isinstance(node, MappingNode):
            items = self._items(node, location)
            return {name: self.build(value, (*location, name)) for name, value in items}
        if isinstance(node, SequenceNode):
            return tuple(self.build(item, (*location, at)) for at, item in enumerate(node.value))
        if isinstance(node, ScalarNode) and not node.style:
            return scalar(node.value)
        return str(node.value)

    def _items(self, node: MappingNode, location: Location) -> Iterator[tuple[str, Node]]:
        seen: dict[str, Position] = {}
        for key, value in node.value:
            position = _position(key.start_mark)
            name = self._name(key, location, position)
            if name is None:
                continue
            if name in seen:
                first = seen[name]
                message = (
                    f'the key "{shown_key(name)}" is here twice;'
                    f" it stands at {first.line}:{first.column} already"
                )
                self._document.issues.append(
                    ConfigIssue((*location, name), message, position=position)
                )
                continue
            seen[name] = self._document.keys[(*location, name)] = position
            yield name, value

    def _name(self, key: Node, location: Location, position: Position) -> str | None:
        plain = isinstance(key, ScalarNode) and not key.style
        name = scalar(key.value) if plain else key.value
        if plain and name == "<<":
            message = 'merge keys ("<<") are not part of YAML 1.2; write the keys out'
        elif not isinstance(key, ScalarNode) or not isinstance(name, str):
            message = "a key must be text; put it in quotes"
        else:
            return name
        self._document.issues.append(ConfigIssue(location, message, position=position))
        return None


def _position(mark: _Mark | None) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else TOP


def _syntax(text: str, error: yaml.MarkedYAMLError) -> ConfigIssue:
    mark = error.problem_mark
    sentence = yaml_mistakes.GENERAL if mark is None else yaml_mistakes.sentence(text, mark.index)
    return ConfigIssue((), f"not valid YAML: {sentence}", position=_position(mark))


def _unprintable(text: str, error: yaml.reader.ReaderError) -> ConfigIssue:
    # libyaml counts bytes of UTF-8.
    before = text.encode()[: error.position].decode(errors="ignore")
    line, _, column = before.count("\n"), *before.rpartition("\n")[1:]
    message = "not valid YAML: control characters cannot stand in a file; write an escape in quotes"
    return ConfigIssue((), message, position=Position(line + 1, len(column) + 1))


# ---- hints ----------------------------------------------------------------------------------

_MAX_LISTED = 24
_MAX_COMPARED = 64


#: Fewer letters are short for too much.
_MIN_SHORT = 4


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the name that a word is a misspelling of, if it is near to one."""
    lowered = {name.lower(): name for name in sorted(known)}
    word = word[:_MAX_COMPARED].lower()
    if near := get_close_matches(word, lowered, n=1):
        return lowered[near[0]]
    # Such as `cert`, or `ca_file`.
    first = re.split("[_-]", word, maxsplit=1)[0]
    short = [name for name in lowered if _is_short_for(first, name)]
    return lowered[short[0]] if len(short) == 1 else None


def _is_short_for(word: str, name: str) -> bool:
    return word == name or (len(word) >= _MIN_SHORT and name.startswith(word))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `did you mean "x"?`, or the names there are when none is near."""
    names = sorted(known)
    near = nearest(word, names)
    if near is not None:
        return f'did you mean "{shown(near)}"?'
    if not names:
        return "there are none"
    more = ", …" if len(names) > _MAX_LISTED else ""
    return f"there are: {', '.join(shown(name) for name in names[:_MAX_LISTED])}{more}"
