"""A token in the body or the query of a message: masked in what is kept of the message.

Whoever has the token can send anything, so it goes no further than its verification. What is stored
and forwarded, logged and shown, and what digests are made of, is the message with `***` in its
place. A token in a header field needs none of this: that field is not kept.
"""

from dataclasses import replace
from typing import Final

from relay.core import form, strict_json
from relay.core.errors import Refusal
from relay.core.json_pointer import MAX_PLACES, json_text
from relay.core.request import Delivery
from relay.core.secret import MASK, Secret
from relay.providers.inline import FormField, JsonField, QueryField, SignatureRule, Source
from relay.providers.inline.message import Message, pointer_of

#: What the upstream is told of a message: nothing was masked in its body.
_NOTHING: Final[tuple[str, ...]] = ()


class TokenMask:
    """Masks the token of one rule. source: where it stands."""

    def __init__(self, source: JsonField | FormField | QueryField) -> None:
        self._source = source

    def masked(self, message: Message) -> tuple[Message, Delivery | None, tuple[str, ...]]:
        """Return the message without its token, what is kept of the delivery, and what was masked.

        None: there is no token, and the delivery is kept as it is.

        Raises:
            Refusal: BODY_MALFORMED.
        """
        delivery = message.delivery
        body, target = delivery.body, delivery.head.target
        redacted, found = _NOTHING, False
        match self._source:
            case QueryField(name):
                query, found = masked_form(delivery.head.query[1:].encode("latin-1"), name)
                target = f"{delivery.head.path}?{query.decode('latin-1')}"
            case FormField(name):
                body, found = masked_form(body, name)
                redacted = (name,)
            case JsonField(pointer):
                found = pointer_of(pointer).mask(message.json)
                body = strict_json.dump(message.json)
                redacted = (pointer,)
        if not found:
            return message, None, _NOTHING
        kept = Delivery(
            delivery.endpoint,
            replace(delivery.head, target=target),
            delivery.client,
            delivery.remainder,
            body,
            delivery.json_limits,
            delivery.suffix,
        )
        return message.of(kept), kept, redacted

    def values(self, delivery: Delivery) -> list[Secret]:
        """Return what stands in the place of the token, in any message, to mask it elsewhere."""
        message, found = Message(delivery, None, takes_list=True), list[str]()
        try:
            match self._source:
                case QueryField(name):
                    found = message.query.values(name)
                case FormField(name):
                    found = message.form.values(name)
                case JsonField(pointer):
                    whole, parsed = pointer_of(pointer), message.json
                    places = whole.each(parsed)[:MAX_PLACES]
                    found = [json_text(whole.at(at).find(parsed)) or "" for at in places]
        except Refusal:
            return []
        return [*map(Secret, dict.fromkeys(found))]


def token_mask(rule: SignatureRule) -> TokenMask | None:
    """Return what masks the token of a rule; None where there is none, or in a header field."""
    source: Source = rule.source
    if not rule.is_token or not isinstance(source, JsonField | FormField | QueryField):
        return None
    return TokenMask(source)


def is_in_body(rule: SignatureRule) -> bool:
    """Return whether a token stands in the body."""
    return rule.is_token and isinstance(rule.source, JsonField | FormField)


def masked_form(text: bytes, name: str) -> tuple[bytes, bool]:
    """Return a form with the values of a field masked, as it is otherwise; and whether it has one.

    Raises:
        Refusal: BODY_MALFORMED.
    """
    pairs, found = text.split(b"&"), False
    # Nothing between two ampersands is no field.
    places = [at for at, pair in enumerate(pairs) if pair]
    for at, (each, _) in zip(places, form.parse(text).fields, strict=True):
        if each == name:
            pairs[at], found = pairs[at].partition(b"=")[0] + b"=" + MASK.encode(), True
    return b"&".join(pairs), found
