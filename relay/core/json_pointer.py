"""JSON pointers (RFC 6901) into a parsed body, values as text, and values masked."""

import re
from collections.abc import Sequence

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.secret import MASK
from relay.core.strict_json import JsonObject, JsonValue, number_text

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


class Pointer:
    """A parsed JSON pointer.

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

    def find(self, message: JsonValue) -> JsonValue:
        """Return the value at the pointer, or None without one. A message may be a list, too."""
        return self._walk(message, self.steps)

    def other_spelling(self, message: JsonObject) -> str | None:
        """Return a key that differs in case alone from one that the pointer names; else None.

        Many readers (Go's, and those of .NET) mind no case, and the last of such keys wins.
        """
        found: JsonValue = message
        for step in self.steps:
            if isinstance(found, dict):
                folded = step.casefold()
                for name in found:
                    if name != step and name.casefold() == folded:
                        return name
            found = self._walk(found, (step,))
        return None

    def mask(self, message: JsonObject) -> None:
        """Put a mask in the place of the value at the pointer, if there is one in an object."""
        *parents, last = self.steps
        holder = self._walk(message, parents)
        if isinstance(holder, dict) and last in holder:
            holder[last] = MASK

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
