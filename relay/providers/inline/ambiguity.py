"""Whether what was signed could be split otherwise: the same bytes, other fields.

A signature covers one string. Where a value that its sender chooses meets the next one without a
mark between them, or holds that mark itself, digits can move from one to the other unseen.
"""

from collections.abc import Sequence
from itertools import pairwise

from relay.core.errors import Reason, Refusal
from relay.providers.inline.signed_text import Literal, Part, Placeholder

_CHOSEN = ("header", "json", "timestamp")
_WHOLE = ("body", "minified_body")
#: Chosen by whoever calls, as header fields are, unless the configuration says the URL.
_TARGET = ("path", "path_query")


def fields_ambiguous(
    parts: Sequence[Part], filled: Sequence[bytes | None], *, url_known: bool
) -> bool:
    """Tell whether the same bytes could have been made of other values of these fields."""
    chosen = _CHOSEN if url_known else (*_CHOSEN, *_TARGET)
    segments: list[list[tuple[bool, bytes]]] = [[]]
    for part, value in zip(parts, filled, strict=True):
        if value is None:
            # Nobody who does not know the secret can move anything across it.
            segments.append([])
        else:
            segments[-1].append((_is(part, chosen), value))
    return any(map(_segment_ambiguous, segments))


def body_ambiguous(
    parts: Sequence[Part], filled: Sequence[bytes | None], *, url_known: bool
) -> bool:
    """Tell whether the body or another chosen value could begin or end elsewhere.

    So it is where a header field stands right beside one of them, and where a value behind the
    body holds a mark that stands between them.
    """
    free = ("header",) if url_known else ("header", *_TARGET)
    return _touches(parts, ("header",), (*_CHOSEN, *_WHOLE)) or _reaches_back(parts, filled, free)


def needs_url(parts: Sequence[Part]) -> bool:
    """Tell whether only the configured URL can say what is signed.

    The Host and the whole URL are what the caller says they are, and a path without a mark beside
    something else that the caller chooses has no end of its own.
    """
    if any(_is(part, ("host", "public_url")) for part in parts):
        return True
    return _touches(parts, _TARGET, (*_CHOSEN, *_WHOLE, *_TARGET))


def check_marks(parts: Sequence[Part], filled: Sequence[bytes | None], *, url_known: bool) -> None:
    """Check that no header field, and no path that the caller chose, holds the mark that ends it.

    Standard Webhooks: an id with a full stop could reach into the time and the body behind it.

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


def _touches(parts: Sequence[Part], kinds: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return any(
        (_is(one, kinds) and _is(other, others)) or (_is(one, others) and _is(other, kinds))
        for one, other in pairwise(parts)
    )


def _reaches_back(
    parts: Sequence[Part], filled: Sequence[bytes | None], kinds: tuple[str, ...]
) -> bool:
    marks: list[bytes] = []
    began = False
    for part, value in zip(parts, filled, strict=True):
        if began and isinstance(part, Literal):
            marks.append(part.text)
        if _is(part, kinds) and any(mark in (value or b"") for mark in marks):
            return True
        began = began or _is(part, _WHOLE)
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
