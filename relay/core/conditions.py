"""Conditions on a message: its method, or a value in it that has one of some texts. Pure.

Values stand in header fields, the query, a form and JSON. A condition without texts holds where
there is a value that is not empty. A text that is a secret is compared in constant time.

A number is compared as it is written, and true and false as these words. What is no text has no
value: null, an object, a list, a field that stands twice, everything in a body that is no JSON,
repeats a key or exceeds its endpoint's limits, and everything in a form or a query that is none or
has more than `MAX_FIELDS` fields.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final

from relay.core import form, strict_json
from relay.core.errors import Refusal
from relay.core.form import Form
from relay.core.json_pointer import Pointer, json_text
from relay.core.request import Delivery
from relay.core.secret import RevealedSecrets, Secret
from relay.core.strict_json import JsonValue

#: Fields of a form or a query. They are parsed before anything is known of their sender, and what
#: is looked for has a few.
MAX_FIELDS: Final = 100


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
        self._forms: dict[str, Form | None] = {}

    @property
    def method(self) -> str:
        return self._delivery.head.method

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

    def parameter(self, name: str) -> str | None:
        """Return the value of a parameter that stands in the query once; else None."""
        return self._field("query", name)

    def form_field(self, name: str) -> str | None:
        """Return the value of a field that stands in the form once; else None."""
        return self._field("form", name)

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

    def _field(self, where: str, name: str) -> str | None:
        if where not in self._forms:
            head = self._delivery.head
            written = head.query[1:].encode("latin-1") if where == "query" else self._delivery.body
            self._forms[where] = _few_fields(written)
        found = self._forms[where]
        values = [] if found is None else found.values(name)
        return values[0] if len(values) == 1 else None

    def _parse(self) -> None:
        self._is_parsed = True
        try:
            self._parsed = strict_json.parse(self._delivery.body, self._delivery.json_limits)
        except Refusal as refusal:
            self._problem = refusal.detail or "the body is no JSON"


def _few_fields(written: bytes) -> Form | None:
    if written.count(b"&") >= MAX_FIELDS:
        return None
    try:
        return form.parse(written)
    except Refusal:
        return None


@dataclass(frozen=True, slots=True)
class HeaderCondition:
    """A header field has one of these values, character by character."""

    name: str
    values: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    _name: str = field(init=False, repr=False, compare=False)
    _values: Container[str | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_name", self.name.lower())
        # Header fields are read as Latin-1, whatever their senders write.
        object.__setattr__(self, "_values", _accepted(self.values, self.secrets, "latin-1"))

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
    values: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    _pointer: Pointer = field(init=False, repr=False, compare=False)
    _values: Container[str | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pointer", Pointer(self.pointer))
        object.__setattr__(self, "_values", _accepted(self.values, self.secrets))

    def __str__(self) -> str:
        return self.pointer

    def holds(self, message: Message) -> bool:
        """Return whether it is."""
        return message.json(self._pointer) in self._values

    def seen(self, message: Message) -> Seen:
        """Return what stands there."""
        return message.json_seen(self._pointer)


@dataclass(frozen=True, slots=True)
class QueryCondition:
    """A parameter of the query has one of these values."""

    name: str
    values: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    _values: Container[str | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_values", _accepted(self.values, self.secrets))

    def __str__(self) -> str:
        return f"the parameter {self.name}"

    def holds(self, message: Message) -> bool:
        """Return whether it does."""
        return message.parameter(self.name) in self._values


@dataclass(frozen=True, slots=True)
class FormCondition:
    """A field of the form in the body has one of these values."""

    name: str
    values: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    _values: Container[str | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_values", _accepted(self.values, self.secrets))

    def __str__(self) -> str:
        return f"the field {self.name}"

    def holds(self, message: Message) -> bool:
        """Return whether it does."""
        return message.form_field(self.name) in self._values


@dataclass(frozen=True, slots=True)
class MethodCondition:
    """The request has this method."""

    method: str

    def __str__(self) -> str:
        return "the method"

    def holds(self, message: Message) -> bool:
        """Return whether it has."""
        return message.method == self.method


#: On a value that an event keeps, so that it holds of it later, too.
Condition = HeaderCondition | JsonCondition
#: On a value that stands in the request.
FieldCondition = HeaderCondition | JsonCondition | QueryCondition | FormCondition
RequestCondition = MethodCondition | FieldCondition


# ---- what a value is compared with ----------------------------------------------------------


class _AnyText:
    """Holds every text that is not empty."""

    def __contains__(self, text: object) -> bool:
        return bool(text)


class _SecretTexts:
    """Holds some texts, which are compared in constant time, and all of them."""

    def __init__(self, texts: Sequence[Secret], encoding: str) -> None:
        self._encoding = encoding
        self._texts = RevealedSecrets.of(texts)

    def __contains__(self, text: object) -> bool:
        if not isinstance(text, str):
            return False
        # Half a surrogate pair, which JSON can name, fits nothing.
        written = text.encode(self._encoding, "surrogatepass")
        found = [compare_digest(written, each) for each in self._texts]
        return any(found)


def _accepted(
    values: Sequence[str], secrets: Sequence[Secret], encoding: str = "utf-8"
) -> Container[str | None]:
    """Return what a value has to be in. encoding: in which its bytes are read as text."""
    if secrets:
        return _SecretTexts([*secrets, *map(Secret, values)], encoding)
    if not values:
        return _AnyText()
    return frozenset(each.encode().decode(encoding) for each in values)


def _as_sent(value: str) -> str:
    """Return the value of a header field as text; a byte that is no UTF-8 is escaped."""
    return value.encode("latin-1").decode(errors="backslashreplace")
