"""The same signed bytes under another event key: whether that can be, and what they are then.

It can where the signature covers the whole body and the event key is a header field or a parameter
of the query that it does not cover: whoever has one message can send it again under any number of
ids. So it can where the same text is signed for other bytes, by which events are told apart.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from relay.core.request import OnReplay
from relay.providers.inline import Description, HeaderField, QueryField
from relay.providers.inline.filled import Filled, with_secret
from relay.providers.inline.message import Message
from relay.providers.inline.signed_text import Template


def can_replay(description: Description) -> bool:
    """Tell whether the same signed bytes may come under another event key.

    Raises:
        ValueError: what is signed is no template.
    """
    template = Template(description.signature.signed)
    rule = description.signature
    if not (rule.covers_body or (rule.signs_text and template.covers_body)):
        return False
    covered = {name.lower() for name in template.headers}
    headers = {each.name.lower() for each in description.event_key if isinstance(each, HeaderField)}
    asked = {each.name for each in description.event_key if isinstance(each, QueryField)}
    if headers - covered or asked - {*template.parameters}:
        return True
    # Names and values of a form can be shifted, and with them a key in it.
    by_bytes = not description.event_key or template.holds("form_sorted")
    return by_bytes and not template.holds("body")


def problems(description: Description) -> Iterator[tuple[str, str]]:
    """Yield each mistake: its key, and what to write instead."""
    is_duplicate = description.on_replay is OnReplay.DUPLICATE
    if is_duplicate and not can_replay(description):
        message = "nothing comes again under another id here, since the signature covers event_key"
        if not Template(description.signature.signed).covers_body:
            message = "a signature that does not cover the whole body tells no repeat"
        rule = description.signature
        if not rule.signs_text and not rule.covers_body:
            what = "a token" if rule.is_token else rule.scheme
            message = f"{what} signs nothing that could be repeated"
        yield "repeats", f"{message}; leave the key out"
    if description.distinct and not is_duplicate:
        yield "distinct", "tells duplicates apart, and needs repeats: duplicate"
    keys = {each.name.lower() for each in description.event_key if isinstance(each, HeaderField)}
    for field in description.distinct:
        if field.name.lower() in keys:
            yield "distinct", f"{field.name} is the event key itself, and nothing would be a repeat"


class Replays:
    """Digests of what is signed, for a description that `can_replay`."""

    def __init__(self, description: Description) -> None:
        self.on_replay = description.on_replay
        self._distinct = description.distinct
        self._is_body = description.signature.signed == "{body}"

    def digest(self, message: Message, filled: Sequence[Filled]) -> bytes:
        """Return what is the same for the same signed bytes, and for the same distinct values.

        filled: the parts of what is signed, with None where the secret belongs.
        """
        signed = message.body_digest
        if not self._is_body:
            signed = sha256(with_secret(filled, b"")).digest()
        if not self._distinct:
            return signed
        values = [message.optional(field) or "" for field in self._distinct]
        # No value of a header field holds a line break.
        return sha256("\n".join([signed.hex(), *values]).encode()).digest()
