"""Conditions on a message: a header field or a JSON value that has one of some texts. Pure."""

from dataclasses import dataclass

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.json_pointer import Pointer, json_text
from relay.core.request import Delivery
from relay.core.strict_json import JsonObject, JsonValue


class Message:
    """A delivery as conditions look at it; its body is parsed once, and only when it is asked for.

    said: the parsed body, where it is at hand.
    """

    def __init__(self, delivery: Delivery, said: JsonValue | bytes) -> None:
        self._delivery = delivery
        self._parsed: JsonObject | None = said if isinstance(said, dict) else None
        self._is_parsed = self._parsed is not None

    def header(self, name: str) -> str | None:
        """Return the value of a header field that stands there once; else None."""
        values = self._delivery.head.headers.values(name)
        return values[0] if len(values) == 1 else None

    def json(self, pointer: Pointer) -> str | None:
        """Return a value of the body as text; None where there is none, or the body is no JSON."""
        if not self._is_parsed:
            self._is_parsed = True
            try:
                self._parsed = strict_json.parse_object(
                    self._delivery.body, self._delivery.json_limits
                )
            except Refusal:
                self._parsed = None
        found = None if self._parsed is None else pointer.find(self._parsed)
        return None if found is None else json_text(found)


@dataclass(frozen=True, slots=True)
class HeaderCondition:
    """A header field has one of these values, character by character."""

    name: str
    values: tuple[str, ...]

    def holds(self, message: Message) -> bool:
        """Return whether it does."""
        return message.header(self.name) in self.values


@dataclass(frozen=True, slots=True)
class JsonCondition:
    """A value of the body is one of these, as text."""

    pointer: str
    values: tuple[str, ...]

    def holds(self, message: Message) -> bool:
        """Return whether it is."""
        return message.json(Pointer(self.pointer)) in self.values


Condition = HeaderCondition | JsonCondition
