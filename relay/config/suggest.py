"""Saying which name was probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches

from relay.config.places import shown

_MOST_LISTED = 20
_LONGEST_COMPARED = 64


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `did you mean "x"?`, or the names there are when none is near."""
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    near = get_close_matches(word[:_LONGEST_COMPARED].lower(), lowered, n=1)
    if near:
        return f'did you mean "{shown(lowered[near[0]])}"?'
    if not names:
        return "there are none"
    more = ", …" if len(names) > _MOST_LISTED else ""
    return f"there are: {', '.join(shown(name) for name in names[:_MOST_LISTED])}{more}"
