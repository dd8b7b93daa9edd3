"""Whether what was signed could be split otherwise: the same bytes, other fields.

A signature covers one string. Where a value that its sender chooses meets the next one without a
mark between them, or holds that mark itself, digits can move from one to the other unseen.
"""

from collections.abc import Sequence
from itertools import pairwise

from relay.errors import Reason, Refusal
from relay.inline.template import Literal, Part, Placeholder

_CHOSEN = ("header", "json", "timestamp")
_WHOLE = ("body", "minified_body")


def fields_ambiguous(parts: Sequence[Part], filled: Sequence[bytes | None]) -> bool:
    """Tell whether the same bytes could have been made of other values of these fields."""
    segments: list[list[tuple[bool, bytes]]] = [[]]
    for part, value in zip(parts, filled, strict=True):
        if value is None:
            # Nobody who does not know the secret can move anything across it.
            segments.append([])
        else:
            segments[-1].append((_is(part, _CHOSEN), value))
    return any(map(_segment_ambiguous, segments))


def body_ambiguous(parts: Sequence[Part]) -> bool:
    """Tell whether a header field stands right beside the body or another chosen value."""
    return any(
        (_is(one, ("header",)) and _is(other, (*_CHOSEN, *_WHOLE)))
        or (_is(one, _WHOLE) and _is(other, ("header",)))
        for one, other in pairwise(parts)
    )


def check_marks(parts: Sequence[Part], filled: Sequence[bytes | None]) -> None:
    """Check that no header field holds the text that marks its own end.

    Standard Webhooks: an id with a full stop could reach into the time and the body behind it.

    Raises:
        Refusal: SIGNATURE_MISMATCH.
    """
    for at, part in enumerate(parts[:-1]):
        mark, value = parts[at + 1], filled[at]
        if _is(part, ("header",)) and isinstance(mark, Literal) and mark.text in (value or b""):
            name = part.name if isinstance(part, Placeholder) else ""
            raise Refusal(Reason.SIGNATURE_MISMATCH, f"{name} holds the mark that ends it")


def _is(part: Part, kinds: tuple[str, ...]) -> bool:
    return isinstance(part, Placeholder) and part.kind in kinds


def _segment_ambiguous(segment: list[tuple[bool, bytes]]) -> bool:
    text, marks = _marks(segment)
    # Where every mark is found first and last at the same place, there is one way to split.
    first, last = 0, len(text)
    for at, mark in marks:
        first = text.find(mark, first)
        if first != at:
            return True
        first += len(mark)
    for at, mark in reversed(marks):
        last = text.rfind(mark, 0, last)
        if last != at:
            return True
    return False


def _marks(segment: list[tuple[bool, bytes]]) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Return the text from the first chosen value to the last, and what stands between them.

    Between two that touch stands nothing: an empty mark, which is found everywhere.
    """
    text, mark = b"", b""
    marks: list[tuple[int, bytes]] = []
    began = False
    for chosen, value in segment:
        if not chosen:
            mark += value
            continue
        if began:
            marks.append((len(text), mark))
            text += mark
        text, mark, began = text + value, b"", True
    return text, marks
