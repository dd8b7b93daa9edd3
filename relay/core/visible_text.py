"""Text that strangers wrote, shown as it is: nothing in it hides, reorders or steers.

Characters without a shape of their own are escaped: controls (C0, C1), direction overrides and
isolates, zero-width ones, line and paragraph separators, blanks that are no space, what is not
assigned. Page, terminal, log and exports show text by these functions alone.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import Final

#: Letters and marks that Unicode asks readers to draw as nothing (Default_Ignorable_Code_Point),
#: and the blank of Braille; `str.isprintable` knows all others.
_DRAWN_AS_NOTHING: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_UNUSUAL: Final = re.compile("[^ -~]+")

#: Bytes that are decoded in one call.
_AT_ONCE: Final = 16_384

#: Behind blanks and quotes, in the usual width and the full one (OWASP, CSV Injection).
_BEFORE: Final = r"[\s\"'\u2018-\u201f]*"
_BEGINS: Final = rf"{_BEFORE}[=+\-@\uff1d\uff0b\uff0d\uff20\u2212]"
_FORMULA: Final = re.compile(rf"{_BEGINS}|{_BEFORE}[\t\r\n\0]")
_FORMULA_BEHIND: Final = re.compile(rf"(;)({_BEGINS})")

_Escape = Callable[[str], str]


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return text in which every character can be seen; the others are escaped as `\u202e`.

    lines: line feeds and tabs stay, for text that is shown with its lines.
    """
    if _is_visible(text):
        return text
    return _UNUSUAL.sub(lambda found: _each(found[0], "\n\t" if lines else "", _escape), text)


def decoded(body: bytes) -> str:
    """Return bytes as text; those that are no UTF-8 are escaped.

    That takes seconds for millions of them, and one call of `decode` lets no other thread run.
    """
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    starts = range(0, len(body), _AT_ONCE)
    pieces = [decoder.decode(body[start : start + _AT_ONCE]) for start in starts]
    return "".join([*pieces, decoder.decode(b"", final=True)])


def visible_json(text: str) -> str:
    """Return JSON that means the same, with what cannot be seen escaped in JSON's own way."""
    # Of what is ASCII, only DEL may stand in JSON as it is.
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNUSUAL.sub(lambda found: _each(found[0], "\n\t", _json_escape), text)


def formula_safe(text: str) -> str:
    """Return text that a spreadsheet takes for nothing but text, in one line.

    What it would take for a formula gets an apostrophe in front; in the middle too, where one that
    separates cells by semicolons would begin another cell.
    """
    shown = visible(text)
    if _FORMULA.match(text) or _FORMULA.match(shown):
        shown = "'" + shown
    return _FORMULA_BEHIND.sub(r"\1'\2", shown)


def _is_visible(text: str) -> bool:
    return text.isprintable() and (text.isascii() or _DRAWN_AS_NOTHING.search(text) is None)


def _each(unusual: str, kept: str, escape: _Escape) -> str:
    if _is_visible(unusual):
        return unusual
    return "".join(each if each in kept or _is_visible(each) else escape(each) for each in unusual)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
