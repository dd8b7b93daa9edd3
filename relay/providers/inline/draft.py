"""A sample before it is signed: values are put where references of a description point."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from relay.core.json_pointer import Pointer
from relay.providers.inline import (
    Field,
    FormField,
    HeaderField,
    JsonField,
    QueryField,
    SampleMessage,
)
from relay.providers.inline.fresh_values import FreshValues
from relay.providers.media_type import FORM

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(slots=True)
class Draft:
    """Header fields, query and body of one sample. `body`: JSON's values, a form's, or text."""

    body: Any
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """What is appended to the endpoint's URL."""
        return f"?{urlencode(self.query)}" if self.query else ""

    def fields(self) -> tuple[tuple[str, str], ...]:
        """Return the header fields, with the type of the body."""
        own = {name.lower() for name in self.headers}
        if "content-type" in own or not self.body:
            return tuple(self.headers.items())
        return (("Content-Type", self.content_type), *self.headers.items())

    def content(self) -> bytes:
        """Return the body as it is sent."""
        if isinstance(self.body, str):
            return self.body.encode()
        if self.content_type == FORM:
            return urlencode(self.body).encode("ascii")
        return json.dumps(self.body, separators=(",", ":")).encode()

    def has(self, wanted: Field) -> bool:
        """Tell whether something stands at this reference."""
        match wanted:
            case HeaderField(name):
                return name.lower() in {each.lower() for each in self.headers}
            case QueryField(name):
                return name in self.query
            case FormField(name):
                return self.content_type == FORM and name in self.body
            case JsonField(pointer):
                return _found(self.body, Pointer(pointer).steps)

    def put(self, wanted: Field, value: str) -> None:
        """Put a value where this reference points.

        Raises:
            ValueError: the body is none that has such a place.
        """
        match wanted:
            case HeaderField(name):
                same = (each for each in self.headers if each.lower() == name.lower())
                self.headers[next(same, name)] = value
            case QueryField(name):
                self.query[name] = value
            case FormField(name):
                if self.content_type != FORM:
                    raise ValueError(f"{name}: the sample's body is no form")
                self.body[name] = value
            case JsonField(pointer):
                _put(self.body, Pointer(pointer).steps, value)

    def put_in_body(self, path: str, value: str) -> None:
        """Put a value into a form, or into JSON at a path such as `data/state`.

        Raises:
            ValueError: the body is none that has such a place.
        """
        if self.content_type == FORM:
            self.body[path] = value
        else:
            _put(self.body, path.split("/"), value)


def draft(
    message: SampleMessage | None, at: datetime, *, form: bool = False, listed: bool = False
) -> Draft:
    """Return a message with fresh values; without one, a body with an id.

    form, listed: what that body is, where no message is given: a form, or a list of JSON.
    """
    fresh = FreshValues(at)
    if message is None:
        body = {"id": fresh.text("{id}"), "type": "sample"}
        return Draft([body] if listed else body, FORM if form else _JSON)
    headers = {name: fresh.text(value) for name, value in message.headers.items()}
    query = {name: fresh.text(value) for name, value in message.query.items()}
    if message.form is not None:
        fields = {name: fresh.text(value) for name, value in message.form.items()}
        return Draft(fields, FORM, headers, query)
    if message.text is not None:
        return Draft(fresh.text(message.text), _TEXT, headers, query)
    if message.json is not None:
        return Draft(fresh.json(message.json), _JSON, headers, query)
    return Draft("" if message.query else {"id": fresh.text("{id}")}, _JSON, headers, query)


def _found(body: object, steps: Sequence[str]) -> bool:
    for step in steps:
        if isinstance(body, dict) and step in body:
            body = body[step]
        elif isinstance(body, list) and step.isdecimal() and int(step) < len(body):
            body = body[int(step)]
        else:
            return False
    return True


def _put(body: object, steps: Sequence[str], value: str) -> None:
    inner: Any = body
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        fresh: Any = value if following is None else [] if following in {"0", "*"} else {}
        if isinstance(inner, list) and step in {"0", "*"}:
            if not inner or following is None:
                inner[:] = [fresh, *inner[1:]]
            inner = inner[0]
        elif isinstance(inner, dict):
            inner[step] = fresh if following is None else inner.get(step, fresh)
            inner = inner[step]
        else:
            raise ValueError(f"{'/'.join(steps)}: cannot be set")
