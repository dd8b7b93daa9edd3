"""Conditions on a message: a header field or a JSON value that has one of some texts. Pure.

A number is compared as it is written, and true and false as these words. What is no text has no
value: null, an object, a list, a header field that stands twice, and everything in a body that is
no JSON, repeats a key or exceeds its endpoint's limits.
"""

from dataclasses import dataclass, field

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.json_pointer import Pointer, json_text
from relay.core.request import Delivery
from relay.core.strict_json import JsonValue


@dataclass(frozen=True, slots=True)
class Seen:
    """What a condition finds in its place: a text, or why there is none."""

    text: str | None
    absent: str = ""


class Message:
    """A delivery as conditions look at it; its body is parsed once, and only when it is asked for.

    said: the parsed body, where it is at hand.
    """

    def __init__(self, delivery: Delivery, said: JsonValue | bytes) -> None:
        self._delivery = delivery
        self._is_parsed = isinstance(said, dict | list)
        self._parsed: JsonValue = said if self._is_parsed else None
        self._problem = ""

    def header(self, name: str) -> str | None:
        """Return the value of a header field that stands there once; else None.

        name: in lower case.
        """
        return self._delivery.head.headers.single(name)

    def json(self, pointer: Pointer) -> str | None:
        """Return a value of the body as text; None where there is none."""
        if not self._is_parsed:
            self._parse()
        found = pointer.find(self._parsed)
        return None if found is None else json_text(found)

    def header_seen(self, name: str) -> Seen:
        """Return what is found in a header field. name: in lower case."""
        match self._delivery.head.headers.values(name):
            case []:
                return Seen(None, "is not there")
            case [""]:
                return Seen(None, "is empty")
            case [value]:
                return Seen(_as_sent(value))
        return Seen(None, "stands there more than once")

    def json_seen(self, pointer: Pointer) -> Seen:
        """Return what is found in the body."""
        text = self.json(pointer)
        if self._problem:
            return Seen(None, f"cannot be looked for: {self._problem}")
        if text is not None:
            return Seen(text)
        found = pointer.find(self._parsed)
        if found is None:
            return Seen(None, "is not there, or null")
        return Seen(None, "is a list" if isinstance(found, list) else "is an object")

    def _parse(self) -> None:
        self._is_parsed = True
        try:
            self._parsed = strict_json.parse(self._delivery.body, self._delivery.json_limits)
        except Refusal as refusal:
            self._problem = refusal.detail or "the body is no JSON"


@dataclass(frozen=True, slots=True)
class HeaderCondition:
    """A header field has one of these values, character by character."""

    name: str
    values: tuple[str, ...]
    _name: str = field(init=False, repr=False, compare=False)
    _values: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_name", self.name.lower())
        # Header fields are read as Latin-1, whatever their senders write.
        values = frozenset(value.encode().decode("latin-1") for value in self.values)
        object.__setattr__(self, "_values", values)

    def __str__(self) -> str:
        return f"the header {self.name}"

    def holds(self, message: Message) -> bool:
        """Return whether it does."""
        return message.header(self._name) in self._values

    def seen(self, message: Message) -> Seen:
        """Return what stands there."""
        return message.header_seen(self._name)


@dataclass(frozen=True, slots=True)
class JsonCondition:
    """A value of the body is one of these, as text.

    Raises:
        ValueError: `pointer` is no JSON pointer.
    """

    pointer: str
    values: tuple[str, ...]
    _pointer: Pointer = field(init=False, repr=False, compare=False)
    _values: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pointer", Pointer(self.pointer))
        object.__setattr__(self, "_values", frozenset(self.values))

    def __str__(self) -> str:
        return self.pointer

    def holds(self, message: Message) -> bool:
        """Return whether it is."""
        return message.json(self._pointer) in self._values

    def seen(self, message: Message) -> Seen:
        """Return what stands there."""
        return message.json_seen(self._pointer)


Condition = HeaderCondition | JsonCondition


def _as_sent(value: str) -> str:
    """Return the value of a header field as text; a byte that is no UTF-8 is escaped."""
    return value.encode("latin-1").decode(errors="backslashreplace")
