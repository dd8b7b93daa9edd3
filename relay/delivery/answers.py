"""What is kept of an upstream's answer to an attempt: its beginning, without secrets."""

from collections.abc import Iterable
from typing import Final

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.event import Event
from relay.core.json_pointer import Pointer
from relay.core.secret import MASK, Mask, Secret

#: Bytes of an answer that are kept.
KEPT: Final = 1024

#: Bytes that are looked through for secrets: one may begin in what is kept, and end behind it.
LOOKED_AT: Final = 16 * 1024


def kept_answer(answer: bytes, event: Event, secrets: Iterable[Secret]) -> bytes:
    """Return the beginning of an answer.

    Services tell what they were sent when they fail. The secrets given, tokens of the event's
    header fields and of its body stand as `***`.
    """
    mask = Mask((*secrets, *_tokens(event)), event.headers)
    # Each byte is a letter, so that any answer comes back as it was.
    shown = mask.whole(answer[:LOOKED_AT].decode("latin-1"))
    if len(answer) > LOOKED_AT:
        # What was masked has made it shorter, and it may end in the beginning of a secret.
        shown = shown[: max(shown.rfind(MASK) + len(MASK), len(shown) - mask.longest, 0)]
    return shown[:KEPT].encode("latin-1", "backslashreplace")


def _tokens(event: Event) -> list[Secret]:
    """Return the tokens in the body of an event."""
    if not event.tokens:
        return []
    try:
        message = strict_json.parse_object(event.body, strict_json.TAKEN)
    except Refusal:
        return []
    found = [Pointer(pointer).find(message) for pointer in event.tokens]
    return [Secret(token) for token in found if isinstance(token, str) and token]
