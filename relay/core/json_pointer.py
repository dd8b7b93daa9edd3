"""JSON pointers (RFC 6901) into a parsed body, values as text, and values masked."""

import re
from collections.abc import Sequence
from typing import Final

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.secret import MASK
from relay.core.strict_json import JsonObject, JsonValue, number_text

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_EACH = "*"

#: The most elements of lists that the stars of a pointer stand for in one message.
MAX_PLACES: Final = 500
#: Keys of an object that are looked through at once before they are one by one.
_MANY = 64


class Pointer:
    """A parsed JSON pointer.

    stars: how many of its steps are `*`, which `each` takes for every element of a list.
    counts: a step of it may be the number of an element.

    Raises:
        ValueError: it is none; the message says what to write.
    """

    def __init__(self, text: str) -> None:
        if not _POINTER.fullmatch(text):
            raise ValueError("write a JSON pointer that begins with a slash, such as /data/id")
        self.steps = tuple(
            step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")
        )
        self.name = text[1:]
        self.stars = self.steps.count(_EACH)
        self.counts = any(map(_INDEX.fullmatch, self.steps))

    @property
    def into_list(self) -> bool:
        """Whether it can point into a body that is a list."""
        return self.steps[0] == _EACH or _INDEX.fullmatch(self.steps[0]) is not None

    def find(self, message: JsonValue) -> JsonValue:
        """Return the value at the pointer, or None without one. A message may be a list, too."""
        return self._walk(message, self.steps)

    def other_spelling(self, message: JsonValue) -> str | None:
        """Return a key that differs in case alone from one that the pointer names; else None.

        Many readers (Go's, and those of .NET) mind no case, and the last of such keys wins.
        """
        found: JsonValue = message
        for step in self.steps:
            if isinstance(found, dict) and (len(found) < _MANY or _may_be_spelled(step, found)):
                folded = step.casefold()
                for name in found:
                    if name != step and name.casefold() == folded:
                        return name
            found = self._walk(found, (step,))
        return None

    def each(self, message: JsonValue) -> list[tuple[int, ...]]:
        """Return the numbers of the elements that its stars stand for, one tuple for each place.

        A star stands for every element of a list; in an object it is a key. Whether there is
        something in those elements is not looked at. Without a star it is one empty tuple.
        """
        found: list[tuple[tuple[int, ...], JsonValue]] = [((), message)]
        for step in self.steps:
            here, found = found, []
            for numbers, value in here:
                if step == _EACH and isinstance(value, list):
                    found += [((*numbers, at), inner) for at, inner in enumerate(value)]
                else:
                    found.append((numbers, self._walk(value, (step,))))
        return [numbers for numbers, _ in found]

    def at(self, numbers: Sequence[int]) -> "Pointer":
        """Return the pointer into the elements with these numbers, in the place of its stars."""
        if not self.stars:
            return self
        left = iter(numbers)
        steps = [str(next(left, _EACH)) if step == _EACH else step for step in self.steps]
        # It is one already, and is made for each element.
        found = object.__new__(Pointer)
        found.steps = tuple(steps)
        found.name = "/".join([step.replace("~", "~0").replace("/", "~1") for step in steps])
        found.stars, found.counts = 0, True
        return found

    def several(self, message: JsonValue, numbers: Sequence[int] = ()) -> str | None:
        """Return the pointer of a list of several elements of which this one names one; else None.

        Who looks at one element has not seen the others. Stars name all of theirs: they stand for
        these numbers.
        """
        found, left = message, iter(numbers)
        for at, step in enumerate(self.steps):
            inner = step
            if isinstance(found, list):
                if step == _EACH:
                    inner = str(next(left, _EACH))
                elif len(found) > 1 and _INDEX.fullmatch(step):
                    return "/" + "/".join(self.name.split("/")[:at])
            found = self._walk(found, (inner,))
        return None

    def mask(self, message: JsonValue) -> bool:
        """Put a mask in the place of every value at the pointer; return whether there is one."""
        *parents, last = self.steps
        holders = [message]
        for step in parents:
            holders = [inner for each in holders for inner in self._inner(each, step)]
        found = False
        for holder in holders:
            if isinstance(holder, dict) and last in holder:
                holder[last], found = MASK, True
            elif isinstance(holder, list):
                for at in range(len(holder)):
                    if last in {_EACH, str(at)}:
                        holder[at], found = MASK, True
        return found

    def _inner(self, holder: JsonValue, step: str) -> list[JsonValue]:
        """Return what a step leads to."""
        if step == _EACH and isinstance(holder, list):
            return holder
        return [self._walk(holder, (step,))]

    @staticmethod
    def _walk(found: JsonValue, steps: Sequence[str]) -> JsonValue:
        for step in steps:
            if isinstance(found, dict) and step in found:
                found = found[step]
            elif isinstance(found, list) and _INDEX.fullmatch(step) and int(step) < len(found):
                found = found[int(step)]
            else:
                return None
        return found


def _may_be_spelled(name: str, found: JsonObject) -> bool:
    """Return whether another key may differ from this one in case alone."""
    # Of the whole text at once, and with two marks between, of which each key has one.
    folded = ("\0" + "\0\0".join(found) + "\0").casefold()
    return folded.count(f"\0{name.casefold()}\0") > (name in found)


def json_text(value: JsonValue) -> str | None:
    """Return a value as it is written in signed texts; None for an object or a list.

    Text is itself, a number as it was written, and null is empty.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case _:
            return number_text(value)


def masked(body: bytes, pointers: Sequence[str]) -> bytes:
    """Return a body with a mask in the place of each of these values; all of it, if it is no JSON.

    Without pointers it is the body itself.
    """
    if not pointers:
        return body
    try:
        message = strict_json.parse_object(body, strict_json.TAKEN)
    except Refusal:
        return MASK.encode()
    for pointer in pointers:
        Pointer(pointer).mask(message)
    return strict_json.dump(message)
