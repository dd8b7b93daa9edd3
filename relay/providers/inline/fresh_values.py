"""Placeholders of ids and times in a sample, filled anew each time: no two are the same event."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from secrets import randbelow
from typing import Any, Final, cast
from uuid import uuid4

from relay.providers.inline import SampleMessage, Unit
from relay.providers.inline.signed_times import write_time

#: The kinds of placeholders; `{id:order}` is another id than `{id}`, and the same throughout.
PLACEHOLDERS: Final = (
    *("{id}", "{hex}", "{number}"),
    *("{time:s}", "{time:ms}", "{time:iso8601}", "{time:rfc1123}"),
)
_PLACEHOLDER: Final = re.compile(r"\{(id|hex|number|time)(?::([a-z0-9_]{1,20}))?\}")
#: What looks like one; braces of JSON are followed by a quote, a blank or each other.
_LIKE_ONE: Final = re.compile(r"\{[A-Za-z_]+(?::[^{}\s]*)?\}")
_UNITS: Final = ("s", "ms", "iso8601", "rfc1123")


@dataclass(slots=True)
class FreshValues:
    """Fills placeholders. The same one has the same value wherever it stands.

    at: the time of the sample.
    """

    at: datetime
    _made: dict[str, str] = field(default_factory=dict)

    def text(self, template: str) -> str:
        """Return a text with its placeholders filled."""
        return _PLACEHOLDER.sub(self._value, template)

    def json(self, template: object) -> Any:  # noqa: ANN401 - what JSON may hold
        """Return a value of JSON with its placeholders filled.

        A text that is `{number}`, `{time:s}` or `{time:ms}` alone becomes a number.
        """
        match template:
            case str():
                filled, only = self.text(template), _PLACEHOLDER.fullmatch(template)
                return int(filled) if only and _is_number(only) else filled
            case Mapping():
                return {self.text(str(name)): self.json(each) for name, each in template.items()}
            case list() | tuple():
                return [self.json(each) for each in template]
        return template

    def _value(self, found: re.Match[str]) -> str:
        made = self._made.get(found[0])
        if made is None:
            made = self._made[found[0]] = self._make(found)
        return made

    def _make(self, found: re.Match[str]) -> str:
        if found[1] == "time":
            return write_time(self.at, cast("Unit", found[2])) if found[2] in _UNITS else found[0]
        return _MAKERS[found[1]]()


def problems(message: SampleMessage | None) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the path of each text that holds an unknown placeholder, and what there is instead."""
    for key in ("headers", "query", "json", "form", "text"):
        for path, text in _texts(getattr(message, key, None), ("sample", key)):
            if any(map(_unknown, _LIKE_ONE.findall(text))):
                yield path, f"there is no such placeholder; there are: {', '.join(PLACEHOLDERS)}"


def _texts(
    value: object, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    match value:
        case str():
            yield path, value
        case Mapping():
            for name, each in value.items():
                yield from _texts(each, (*path, str(name)))
        case list() | tuple():
            for at, each in enumerate(value):
                yield from _texts(each, (*path, at))


def _unknown(text: str) -> bool:
    found = _PLACEHOLDER.fullmatch(text)
    return found is None or (found[1] == "time" and found[2] not in _UNITS)


def _is_number(found: re.Match[str]) -> bool:
    return found[1] == "number" or found[2] in ("s", "ms")


def _hex() -> str:
    return uuid4().hex


def _number(digits: int) -> str:
    return str(10 ** (digits - 1) + randbelow(9 * 10 ** (digits - 1)))


_MAKERS: Final[Mapping[str, Callable[[], str]]] = {
    "id": lambda: str(uuid4()),
    "hex": _hex,
    "number": partial(_number, 12),
}
