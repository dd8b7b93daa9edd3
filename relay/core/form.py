"""Forms (`application/x-www-form-urlencoded`), in a body or a query, with every name and value."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from relay.core.errors import Reason, Refusal

#: More fields than any sender's form has.
MAX_FIELDS: Final = 1000

_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: Names that may be joined with values: so nothing else that stands in a value becomes a name.
_JOINED_NAME: Final = re.compile(r"[A-Za-z0-9_.:~\[\]-]{1,128}")


class Form:
    """A parsed form. fields: names and values, decoded, in the order received."""

    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        self.fields = fields

    def values(self, name: str) -> list[str]:
        """Return every value of a field, in order."""
        return [value for each, value in self.fields if each == name]

    def other_spelling(self, name: str) -> str | None:
        """Return a name that some readers take for this one; None without one.

        Some mind no case. PHP drops blanks in front, takes blanks and full stops for underscores,
        ends a name at a NUL, and puts what has a bracket behind its name in the place of the field;
        a bracket that nothing closes is an underscore to it.
        """
        base, bracket, inner = _as_read(name)
        for each, _ in self.fields:
            if each != name:
                for other in _readings(each):
                    if other[0] == base and (not bracket or not other[1] or other[2] == inner):
                        return each
        return None


def parse(text: bytes) -> Form:
    """Return the fields of a form. Nothing between two ampersands is no field.

    Raises:
        Refusal: BODY_MALFORMED when it is no such form: not ASCII, an escape that is none, bytes
            that are no UTF-8, too many fields, or a semicolon, which ends a field for some readers.
    """
    try:
        written = text.decode("ascii")
    except UnicodeDecodeError:
        raise Refusal(Reason.BODY_MALFORMED, "the form is not ASCII") from None
    if written.count("&") >= MAX_FIELDS:
        raise Refusal(Reason.BODY_MALFORMED, f"the form has more than {MAX_FIELDS} fields")
    if _BAD_ESCAPE.search(written):
        raise Refusal(Reason.BODY_MALFORMED, "the form holds an escape that is none")
    if ";" in written:
        raise Refusal(Reason.BODY_MALFORMED, "the form holds a semicolon that is not escaped")
    fields = []
    for pair in filter(None, written.replace("+", " ").split("&")):
        name, _, value = pair.partition("=")
        fields.append((_decoded(name), _decoded(value)))
    return Form(tuple(fields))


def joined(fields: Iterable[tuple[str, str]]) -> str:
    """Return names and values one behind the other, sorted by name.

    A name that is there several times stands before each of its different values, sorted.

    Raises:
        Refusal: FIELD_INVALID when a name is empty, too long, or holds anything but letters,
            digits and a few marks.
    """
    pairs = sorted(set(fields))
    for name, _ in pairs:
        if not _JOINED_NAME.fullmatch(name):
            detail = "a name in the form holds more than letters, digits and the marks _.:~[]-"
            raise Refusal(Reason.FIELD_INVALID, detail)
    return "".join([name + value for name, value in pairs])


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    # An escape of a form is one of Python's with another mark, and its codec runs no Python code.
    escaped = text.replace("\\", "\\\\").replace("%", "\\x").encode("ascii")
    try:
        return escaped.decode("unicode_escape").encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(Reason.BODY_MALFORMED, "the form holds bytes that are no UTF-8") from None


def _as_read(name: str) -> tuple[str, str, str]:
    """Return the base of a name as the most careless reader has it, and a bracket and its rest."""
    base, bracket, inner = name.partition("\0")[0].lstrip(" ").partition("[")
    return base.replace(".", "_").replace(" ", "_").casefold(), bracket, inner.casefold()


def _readings(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield what readers have of a name, as `_as_read` does."""
    yield _as_read(name)
    before, bracket, inner = name.partition("\0")[0].partition("[")
    if bracket and "]" not in inner:
        yield _as_read(f"{before}_{inner}")
