"""Detect signed texts that could be split into other fields under the same signature.

A signature covers one string. Where a value that its sender chooses is followed by the next one
without a mark between them, or holds that mark itself, bytes can move from one to the other.
"""

from collections.abc import Sequence
from itertools import pairwise

from relay.core.errors import Reason, Refusal
from relay.providers.inline.signed_text import Literal, Part, Placeholder

_SENDER_CHOSEN = ("header", "json", "timestamp")
_WHOLE_BODY = ("body", "minified_body")
#: Chosen by the caller, as header fields are, unless the URL is configured.
_TARGET = ("path", "path_query")


def fields_ambiguous(
    parts: Sequence[Part], filled: Sequence[bytes | None], *, url_known: bool
) -> bool:
    """Tell whether the same bytes could be built from other values of these fields."""
    chosen = _SENDER_CHOSEN if url_known else (*_SENDER_CHOSEN, *_TARGET)
    segments: list[list[tuple[bool, bytes]]] = [[]]
    for part, value in zip(parts, filled, strict=True):
        if value is None:
            # Without knowing the secret, nothing can be moved across it.
            segments.append([])
        else:
            segments[-1].append((_is(part, chosen), value))
    return any(map(_segment_ambiguous, segments))


def body_ambiguous(
    parts: Sequence[Part], filled: Sequence[bytes | None], *, url_known: bool
) -> bool:
    """Tell whether the body or another chosen value could begin or end elsewhere.

    It could where a header field is adjacent to one of them, or where a value behind the body holds
    a mark that separates them.
    """
    free = ("header",) if url_known else ("header", *_TARGET)
    return _adjacent(parts, ("header",), (*_SENDER_CHOSEN, *_WHOLE_BODY)) or _holds_earlier_mark(
        parts, filled, free
    )


def needs_url(parts: Sequence[Part]) -> bool:
    """Tell whether the URL must be configured, as the received one cannot be trusted.

    The caller chooses the Host and the whole URL, and a path adjacent to another value of the
    caller's has no end of its own.
    """
    if any(_is(part, ("host", "public_url")) for part in parts):
        return True
    return _adjacent(parts, _TARGET, (*_SENDER_CHOSEN, *_WHOLE_BODY, *_TARGET))


def check_marks(parts: Sequence[Part], filled: Sequence[bytes | None], *, url_known: bool) -> None:
    """Check that no header field, and no path chosen by the caller, holds the mark behind it.

    Standard Webhooks: an id with a full stop could extend into the time and the body behind it.

    Raises:
        Refusal: SIGNATURE_MISMATCH.
    """
    free = ("header",) if url_known else ("header", *_TARGET)
    for at, part in enumerate(parts[:-1]):
        mark, value = parts[at + 1], filled[at]
        if _is(part, free) and isinstance(mark, Literal) and mark.text in (value or b""):
            name = (part.name or part.kind) if isinstance(part, Placeholder) else ""
            hint = "; public_url settles it" if _is(part, _TARGET) else ""
            raise Refusal(Reason.SIGNATURE_MISMATCH, f"{name} holds the mark that ends it{hint}")


def _adjacent(parts: Sequence[Part], kinds: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return any(
        (_is(one, kinds) and _is(other, others)) or (_is(one, others) and _is(other, kinds))
        for one, other in pairwise(parts)
    )


def _holds_earlier_mark(
    parts: Sequence[Part], filled: Sequence[bytes | None], kinds: tuple[str, ...]
) -> bool:
    marks: list[bytes] = []
    started = False
    for part, value in zip(parts, filled, strict=True):
        if started and isinstance(part, Literal):
            marks.append(part.text)
        if _is(part, kinds) and any(mark in (value or b"") for mark in marks):
            return True
        started = started or _is(part, _WHOLE_BODY)
    return False


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
    """Return the text from the first chosen value to the last, and the marks between them.

    Between two adjacent ones the mark is empty, and is found everywhere.
    """
    text, mark = b"", b""
    marks: list[tuple[int, bytes]] = []
    started = False
    for chosen, value in segment:
        if not chosen:
            mark += value
            continue
        if started:
            marks.append((len(text), mark))
            text += mark
        text, mark, started = text + value, b"", True
    return text, marks
