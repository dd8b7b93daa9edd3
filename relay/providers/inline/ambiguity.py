"""Detect signed texts that could be split into other fields under the same signature.

A signature covers one string. Where a value that its sender chooses is followed by the next one
without a mark between them, or holds that mark itself, bytes can move from one to the other.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from relay.core.errors import Reason, Refusal
from relay.providers.inline.filled import Filled
from relay.providers.inline.placeholders import WHOLE_BODY
from relay.providers.inline.signed_text import Hashed, Literal, Part, Placeholder

_SENDER_CHOSEN = ("header", "json", "form", "query", "timestamp")
#: Chosen by the caller, whoever signed the rest.
_UNTIED = ("header", "query")
#: Chosen by the caller, as header fields are, unless the URL is configured.
_TARGET = ("path", "path_query")


class Ambiguity:
    """Decides whether texts of one template could be split otherwise.

    What the template itself decides is computed once, here.
    """

    def __init__(self, parts: Sequence[Part], *, url_known: bool) -> None:
        """Take the parts of the template. `url_known`: the URL is configured."""
        chosen = _SENDER_CHOSEN if url_known else (*_SENDER_CHOSEN, *_TARGET)
        self._chosen = tuple(_is(part, chosen) for part in parts)
        free = _UNTIED if url_known else (*_UNTIED, *_TARGET)
        self._ends = tuple(_ends(parts, free))
        self._earlier_marks = tuple(_earlier_marks(parts, free))
        self._adjacent = _adjacent(parts, _UNTIED, (*_SENDER_CHOSEN, *WHOLE_BODY))
        # Names and values stand there without a mark between them.
        self._joined = any(_is(part, ("form_sorted",)) for part in parts)

    def check_marks(self, filled: Sequence[Filled]) -> None:
        """Check that no header field, and no path chosen by the caller, holds the mark behind it.

        Standard Webhooks: an id with a full stop could extend into the time and the body behind it.

        Raises:
            Refusal: SIGNATURE_MISMATCH.
        """
        for at, mark, detail in self._ends:
            value = filled[at]
            if isinstance(value, bytes) and mark in value:
                raise Refusal(Reason.SIGNATURE_MISMATCH, detail)

    def of_body(self, filled: Sequence[Filled]) -> bool:
        """Tell whether the body or another chosen value could begin or end elsewhere.

        It could where a header field is adjacent to one of them, or where a value behind the body
        holds a mark that separates them; and always where names and values of a form are joined.
        """
        if self._joined:
            return True
        for at, mark in self._earlier_marks:
            value = filled[at]
            if isinstance(value, bytes) and mark in value:
                return True
        return self._adjacent

    def of_fields(self, filled: Sequence[Filled]) -> bool:
        """Tell whether the same bytes could be built from other values of these fields."""
        segments: list[list[tuple[bool, bytes]]] = [[]]
        for chosen, value in zip(self._chosen, filled, strict=True):
            if not isinstance(value, bytes):
                # Without knowing the secret, nothing can be moved across it.
                segments.append([])
            else:
                segments[-1].append((chosen, value))
        return any(map(_segment_ambiguous, segments))


def needs_url(parts: Sequence[Part]) -> bool:
    """Tell whether the URL must be configured, as the received one cannot be trusted.

    The caller chooses the Host and the whole URL, and a path adjacent to another value of the
    caller's has no end of its own.
    """
    if any(_is(part, ("host", "public_url")) for part in parts):
        return True
    if any(isinstance(part, Hashed) and needs_url(part.template.parts) for part in parts):
        return True
    return _adjacent(parts, _TARGET, (*_SENDER_CHOSEN, *WHOLE_BODY, *_TARGET))


def _adjacent(parts: Sequence[Part], kinds: Collection[str], others: Collection[str]) -> bool:
    return any(
        (_is(one, kinds) and _is(other, others)) or (_is(one, others) and _is(other, kinds))
        for one, other in pairwise(parts)
    )


def _ends(parts: Sequence[Part], free: tuple[str, ...]) -> Iterator[tuple[int, bytes, str]]:
    """Yield the position of each free value with a mark behind it, the mark, and what to say."""
    for at, (part, behind) in enumerate(pairwise(parts)):
        if isinstance(part, Placeholder) and _is(part, free) and isinstance(behind, Literal):
            hint = "; public_url settles it" if _is(part, _TARGET) else ""
            yield at, behind.text, f"{part.name or part.kind} holds the mark that ends it{hint}"


def _earlier_marks(parts: Sequence[Part], free: tuple[str, ...]) -> Iterator[tuple[int, bytes]]:
    """Yield the position of each free value behind the body with each mark between them."""
    marks: list[bytes] = []
    started = False
    for at, part in enumerate(parts):
        if started and isinstance(part, Literal):
            marks.append(part.text)
        if _is(part, free):
            yield from ((at, mark) for mark in marks)
        started = started or _is(part, WHOLE_BODY)


def _is(part: Part, kinds: Collection[str]) -> bool:
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
