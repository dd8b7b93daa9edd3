"""A body as a person reads it: JSON with indentation, a form by its fields, else as it came.

Only white space is added: numbers, escapes and members that stand twice stay as they were signed.
"""

import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from relay.core.visible_text import decoded

#: Bytes of a body that are shown; reading more of it on a page helps nobody.
MAX_SHOWN: Final = 100_000

_MAX_DEPTH: Final = 40
_MAX_FIELDS: Final = 500
_PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class ReadableBody:
    """A body for people.

    size: bytes in all. raw: the beginning as text; bytes that are no UTF-8 are escaped.
    pretty: the same with indentation, where it is JSON. fields: where it is a form.
    """

    size: int
    raw: str
    pretty: str | None
    fields: tuple[tuple[str, str], ...]

    @property
    def cut(self) -> bool:
        """Whether only the beginning is shown."""
        return self.size > MAX_SHOWN


def readable_body(body: bytes, media_type: str) -> ReadableBody:
    """Return a body as a person reads it; what is cut is shown as it came."""
    raw = decoded(body[:MAX_SHOWN])
    if len(body) > MAX_SHOWN:
        return ReadableBody(len(body), raw, None, ())
    pretty = indented(raw)
    is_form = pretty is None and media_type.partition(";")[0].strip().lower() == _FORM
    return ReadableBody(len(body), raw, pretty, _fields(raw) if is_form else ())


def indented(text: str) -> str | None:
    """Return JSON with a line for each member, and nothing else changed; None if it is no JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    lines: list[str] = []
    line: list[str] = []
    depth = 0

    def end_line() -> None:
        lines.append("".join(line))
        line[:] = ["  " * depth]

    before = ""
    # One by one: a call that finds all lets no other thread run.
    for found in _PIECE.finditer(text):
        piece = found[0]
        if piece in "}]":
            depth -= 1
            if before not in "{[":
                end_line()
        elif before and before in "{[,":
            end_line()
        line.append(": " if piece == ":" else piece)
        if piece in "{[":
            depth += 1
            if depth > _MAX_DEPTH:
                return None
        before = piece
    lines.append("".join(line))
    return "\n".join(lines)


def _fields(text: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        return ()
