"""JSON pointers (RFC 6901) into a parsed body, and values as text."""

import re

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
        self._steps = tuple(
            step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")
        )
        self.name = text[1:]

    def find(self, message: JsonObject) -> JsonValue:
        """Return the value at the pointer, or None without one."""
        found: JsonValue = message
        for step in self._steps:
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
