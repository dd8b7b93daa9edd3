"""Signed fields that must have a given value: whose message it is.

One key of a sender can serve many of its customers, and then a signature does not say which of them
a message is for. `requiring` lets an inspector take only messages that name the right one.
"""

from collections.abc import Iterator, Sequence

from relay.core import strict_json
from relay.core.errors import Reason, Refusal
from relay.core.json_pointer import MAX_PLACES, Pointer, json_text
from relay.core.request import Ack, Delivery, IngestResult, References, Verification
from relay.core.strict_json import JsonValue
from relay.providers import AnswerContext, Inspector, RequiredField
from relay.signatures import OnSigned, ignore_signed


class _Requiring:
    """An inspector that checks fields once its inner one has verified the message."""

    def __init__(self, inner: Inspector, required: Sequence[RequiredField]) -> None:
        self._inner = inner
        self._required = [(Pointer(each.pointer), each.values) for each in required]
        self.signs_query = inner.signs_query

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        verification = self._inner.verify(delivery, on_signed)
        # A message that has no body by its kind, such as the removal of a consent, names nobody.
        if delivery.body:
            message = verification.said
            if not isinstance(message, dict | list):
                message = strict_json.parse_object(delivery.body, delivery.json_limits)
            for pointer, values in self._required:
                if not _has_one(message, pointer, values):
                    raise Refusal(Reason.FIELD_FOREIGN, f"/{pointer.name} is none of `must`")
        return verification

    def references(self, delivery: Delivery) -> References:
        return self._inner.references(delivery)

    def answer(self, result: IngestResult, context: AnswerContext) -> Ack:
        return self._inner.answer(result, context)

    def proxied_answer(self, answered: Ack, context: AnswerContext) -> Ack:
        return self._inner.proxied_answer(answered, context)


def _has_one(message: JsonValue, pointer: Pointer, values: Sequence[str]) -> bool:
    """Return whether the field has one of these values: in each element that a star stands for.

    Raises:
        Refusal: FIELD_INVALID when the pointer names one of several elements, or too many.
    """
    if not pointer.stars and not pointer.counts:
        return json_text(pointer.find(message)) in values
    places = pointer.each(message)
    if len(places) > MAX_PLACES:
        detail = f"/{pointer.name} stands for more than {MAX_PLACES} values"
        raise Refusal(Reason.FIELD_INVALID, detail)
    for numbers in places:
        if json_text(pointer.at(numbers).find(message)) not in values:
            return False
        if (name := pointer.several(message, numbers)) is not None:
            detail = f"{name or 'the body'} holds several elements, and one of them is named"
            raise Refusal(Reason.FIELD_INVALID, detail)
    return bool(places)


def requiring(inspector: Inspector, required: Sequence[RequiredField]) -> Inspector:
    """Return an inspector that refuses what does not have these values, as FIELD_FOREIGN.

    They are compared as text, once the inner inspector has verified the message.
    """
    return _Requiring(inspector, required) if required else inspector


def check_signed(required: Sequence[RequiredField], signed: Sequence[str]) -> None:
    """Return if all of these fields are among the signed ones, whose names begin with no slash.

    Raises:
        ValueError: one is not; the message begins with its place.
    """
    for at, said in unsigned(required, signed):
        raise ValueError(f"must.{at}: {said}")


def unsigned(required: Sequence[RequiredField], signed: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the position of each field that anybody could write, and what is said of it."""
    names = ", ".join(f"/{name}" for name in signed)
    for at, each in enumerate(required):
        if each.pointer[1:] not in signed:
            said = f"{each.pointer} is not signed, and anybody could write it; signed are {names}"
            yield at, said
