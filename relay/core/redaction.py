"""Redaction: values at JSON pointers of a body, masked wherever people see what came.

What is sent and stored stays as it was received.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.json_pointer import Pointer, json_text
from relay.core.request import Headers
from relay.core.secret import MASK, Mask, Secret
from relay.core.strict_json import JsonValue

#: What stands for a body in which nothing can be found to be masked.
HIDDEN: Final = "*** (not shown: it is no JSON, so that `redact` finds nothing to mask in it)"
#: What stands for an answer that may hold the values of such a body, or of one that is gone.
UNKNOWN: Final = "*** (not shown: it may hold what `redact` masks, and the body does not tell that)"

_ANY: Final = "*"

# Beginnings of a value that are masked at the end of a text that was cut.
_MIN_CUT: Final = 4


class Redacted:
    """One body as it is shown, and what masks its values in other texts.

    body: the body with its values masked. known: whether these could be found.
    """

    def __init__(self, body: bytes, values: Sequence[str] | None = ()) -> None:
        """values: what is masked elsewhere, too; None where that is not known."""
        self.body = body
        self.known = values is not None
        self._values = values or ()
        self._mask = Mask(map(Secret, self._values), Headers()) if values else None

    def text(self, shown: str) -> str:
        """Return text with the values masked that it repeats."""
        return shown if self._mask is None else self._mask.whole(shown)

    def answer(self, shown: str) -> str:
        """Return the beginning of an answer to the body so; it may end within a value.

        All of it is masked where the values are not known.
        """
        if not self.known:
            return UNKNOWN
        shown = self.text(shown)
        for value in self._values:
            for length in range(len(value) - 1, _MIN_CUT - 1, -1):
                if shown.endswith(value[:length]):
                    return shown[:-length] + MASK
        return shown

    @property
    def secrets(self) -> list[Secret]:
        """The values, for what masks secrets."""
        return [*map(Secret, self._values)]


class Redaction:
    """The pointers of one endpoint. `*` in a pointer is each element of a list, and each member.

    Raises:
        ValueError: one is no JSON pointer.
    """

    def __init__(self, pointers: Sequence[str] = ()) -> None:
        self._pointers = tuple(Pointer(each).steps for each in pointers)

    def __bool__(self) -> bool:
        return bool(self._pointers)

    def of(self, body: bytes | None) -> Redacted:
        """Return a body redacted; None stands for one that is gone."""
        if not self._pointers:
            return Redacted(body or b"", ())
        if body is None:
            return Redacted(b"", None)
        try:
            message = strict_json.parse(body, strict_json.TAKEN)
        except Refusal:
            return Redacted(HIDDEN.encode(), None)
        values: list[str] = []
        for steps in self._pointers:
            message = _masked(message, steps, values)
        shown = strict_json.dump(message) if values else body
        return Redacted(shown, values)

    def part(self, part: bytes, body: bytes) -> bytes:
        """Return a part of a signed text, which may be the body or hold it, as it is shown."""
        if not self._pointers:
            return part
        if body and body in part:
            return part.replace(body, self.of(body).body)
        seen = self.of(part)
        return seen.body if seen.known else part


def _masked(found: JsonValue, steps: Sequence[str], values: list[str]) -> JsonValue:
    """Return a value in which what these steps lead to is masked; gather what that was."""
    if not steps:
        # What has no text of its own counts as found, too.
        values += [*_texts(found), ""]
        return MASK
    step, rest = steps[0], steps[1:]
    if isinstance(found, dict):
        names = [*found] if step == _ANY and step not in found else [step]
        for name in names:
            if name in found:
                found[name] = _masked(found[name], rest, values)
    elif isinstance(found, list):
        for at in range(len(found)):
            if step in {_ANY, str(at)}:
                found[at] = _masked(found[at], rest, values)
    return found


def _texts(value: JsonValue) -> Iterator[str]:
    """Yield every text and number in a value, as it is written."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif value is not None and not isinstance(value, bool):
        yield json_text(value) or ""


#: Redactions by the name of their endpoint.
Redactions = Mapping[str, Redaction]

NOTHING: Final = Redaction()
