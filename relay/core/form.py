"""Forms (`application/x-www-form-urlencoded`), in a body or a query, with every name and value."""

import re
from typing import Final
from urllib.parse import unquote_plus

from relay.core.errors import Reason, Refusal

#: More fields than any sender's form has.
MAX_FIELDS: Final = 1000

_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Form:
    """A parsed form. fields: names and values, decoded, in the order received."""

    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        self.fields = fields

    def values(self, name: str) -> list[str]:
        """Return every value of a field, in order."""
        return [value for each, value in self.fields if each == name]


def parse(text: bytes) -> Form:
    """Return the fields of a form.

    Raises:
        Refusal: BODY_MALFORMED when it is no such form: not ASCII, an escape that is none, bytes
            that are no UTF-8, or too many fields.
    """
    try:
        written = text.decode("ascii")
    except UnicodeDecodeError:
        raise Refusal(Reason.BODY_MALFORMED, "the form is not ASCII") from None
    pairs = written.split("&") if written else []
    if len(pairs) > MAX_FIELDS:
        raise Refusal(Reason.BODY_MALFORMED, f"the form has more than {MAX_FIELDS} fields")
    if _ESCAPE.search(written):
        raise Refusal(Reason.BODY_MALFORMED, "the form holds an escape that is none")
    fields = []
    for pair in pairs:
        name, _, value = pair.partition("=")
        fields.append((_decoded(name), _decoded(value)))
    return Form(tuple(fields))


def _decoded(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise Refusal(Reason.BODY_MALFORMED, "the form holds bytes that are no UTF-8") from None
