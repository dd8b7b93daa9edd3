"""A message as descriptions look at it: header fields, URL, and values of the body."""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Final

from relay.core import form, json_text, strict_json
from relay.core.errors import Reason, Refusal
from relay.core.form import Form
from relay.core.json_pointer import MAX_PLACES, Pointer
from relay.core.json_pointer import json_text as text_of
from relay.core.request import Delivery
from relay.core.strict_json import JsonObject, JsonValue, minify
from relay.core.urls import SignedUrl
from relay.providers import received_url
from relay.providers.inline import (
    Field,
    HeaderField,
    HeaderFields,
    JsonField,
    QueryField,
    Source,
)


class Message:
    """A delivery and its signed URL; what is derived from the body is computed once, on demand."""

    def __init__(
        self, delivery: Delivery, public: SignedUrl | None, *, takes_list: bool = False
    ) -> None:
        """Wrap the delivery.

        public: the configured URL, if there is one.
        takes_list: the body may be a list of JSON.
        """
        self._takes_list = takes_list
        self.delivery = delivery
        self._numbers: tuple[int, ...] = ()
        self._head = delivery.head
        self._public = public
        self.method = delivery.head.method
        self.body = delivery.body
        self._json_limits = delivery.json_limits
        self.body_digest = delivery.body_sha256

    @cached_property
    def json(self) -> JsonObject | list[JsonValue]:
        """The body, parsed strictly: an object, or a list where one is taken.

        Raises:
            Refusal: BODY_MALFORMED.
        """
        if not self._takes_list:
            return strict_json.parse_object(self.body, self._json_limits)
        found = strict_json.parse(self.body, self._json_limits)
        if isinstance(found, dict | list):
            return found
        raise Refusal(Reason.BODY_MALFORMED, "neither a JSON object nor a list")

    @cached_property
    def form(self) -> Form:
        """The body, parsed as a form.

        Raises:
            Refusal: BODY_MALFORMED.
        """
        return form.parse(self.body)

    @cached_property
    def query(self) -> Form:
        """The query that arrived.

        Raises:
            Refusal: BODY_MALFORMED.
        """
        return form.parse(self._head.query[1:].encode("latin-1"))

    def json_sorted(self, left_out: Pointer | None) -> bytes:
        """Return the body as JSON with sorted keys, without this member.

        Raises:
            Refusal: BODY_MALFORMED; FIELD_INVALID as `core.json_text.sorted_keys` does.
        """
        steps = () if left_out is None else left_out.steps
        return json_text.sorted_keys(self.body, self.json, steps)

    def body_without(self, member: Pointer) -> bytes:
        """Return the body as it came, without this member.

        Raises:
            Refusal: BODY_MALFORMED; FIELD_INVALID as `core.json_text.without` does.
        """
        _ = self.json  # only of strict JSON is it known what a member is
        return json_text.without(self.body, member.steps)

    def form_sorted(self, left_out: str | None) -> bytes:
        """Return names and values of the form, sorted by name, without this field.

        Raises:
            Refusal: BODY_MALFORMED; FIELD_INVALID as `core.form.joined` does.
        """
        kept = (each for each in self.form.fields if each[0] != left_out)
        return form.joined(kept).encode()

    @cached_property
    def minified_body(self) -> bytes:
        return minify(self.body)

    @cached_property
    def url(self) -> SignedUrl:
        """The configured URL, or else what arrived.

        Raises:
            Refusal: SIGNATURE_MISMATCH when there is no single Host.
        """
        if self._public is not None:
            return self._public
        return received_url(self._head)

    @property
    def path(self) -> str:
        return self._head.path if self._public is None else self._public.path

    @property
    def path_query(self) -> str:
        return self._head.target if self._public is None else self._public.path_query

    def header(self, name: str) -> str:
        """Return the value of a header field.

        Raises:
            Refusal: SIGNATURE_MISSING when it is not there exactly once, or is empty.
        """
        value = self._head.headers.single(name.lower())
        if value is None:
            raise Refusal(Reason.SIGNATURE_MISSING, f"{name} is not there exactly once")
        return value

    def field(self, pointer: Pointer) -> str:
        """Return a field of the body as text; empty when it is not there.

        Raises:
            Refusal: BODY_MALFORMED; FIELD_INVALID when it is an object or a list, spelled in upper
                and lower case, or in one of several elements of a list.
        """
        if pointer.counts and (name := pointer.several(self.json, self._numbers)) is not None:
            detail = f"{name or 'the body'} holds several elements, and one of them is named"
            raise Refusal(Reason.FIELD_INVALID, detail)
        pointer = pointer.at(self._numbers)
        other = pointer.other_spelling(self.json)
        if other is not None:
            raise Refusal(Reason.FIELD_INVALID, f"{other} is another spelling in /{pointer.name}")
        text = text_of(pointer.find(self.json))
        if text is None:
            raise Refusal(Reason.FIELD_INVALID, f"/{pointer.name} is an object or a list")
        return text

    def form_field(self, name: str) -> str:
        """Return a field of the form in the body; empty when it is not there.

        Raises:
            Refusal: BODY_MALFORMED; FIELD_INVALID when it is there more than once, or with another
                spelling.
        """
        return _one(self.form, name)

    def parameter(self, name: str) -> str:
        """Return a parameter of the query; empty when it is not there.

        Raises:
            Refusal: BODY_MALFORMED; FIELD_INVALID as of `form_field`.
        """
        return _one(self.query, name)

    def of(self, delivery: Delivery) -> "Message":
        """Return another delivery as a message with this URL."""
        return Message(delivery, self._public, takes_list=self._takes_list)

    def elements(self, field: Source) -> Iterator["Message"]:
        """Yield the message once for each element that the stars of a pointer stand for.

        In each, the stars of every pointer stand for the element's number. Without a star it is
        the message itself.

        Raises:
            Refusal: BODY_MALFORMED; SIGNATURE_MISSING when there is no element; FIELD_INVALID when
                there are more than `MAX_PLACES`.
        """
        if not isinstance(field, JsonField) or not has_stars(field):
            yield self
            return
        pointer = pointer_of(field.pointer)
        places = pointer.each(self.json)
        if not places:
            raise Refusal(Reason.SIGNATURE_MISSING, f"/{pointer.name} names nothing")
        if len(places) > MAX_PLACES:
            detail = f"/{pointer.name} stands for more than {MAX_PLACES} values"
            raise Refusal(Reason.FIELD_INVALID, detail)
        for numbers in places:
            yield self._at(numbers)

    def _at(self, numbers: tuple[int, ...]) -> "Message":
        """Return this message, in which the stars of pointers stand for these numbers."""
        found = Message.__new__(Message)
        found.__dict__.update(self.__dict__)
        found._numbers = numbers  # noqa: SLF001 - of this class
        return found

    def check_single(self, pointer: Pointer) -> None:
        """Check that a list of the body holds exactly one entry.

        Raises:
            Refusal: BODY_MALFORMED; FIELD_INVALID when it holds none or several, or is no list.
        """
        entries = pointer.find(self.json)
        if not isinstance(entries, list):
            raise Refusal(Reason.FIELD_INVALID, f"/{pointer.name} is no list")
        if len(entries) != 1:
            detail = f"/{pointer.name} holds {len(entries)} entries, and exactly one is taken"
            raise Refusal(Reason.FIELD_INVALID, detail)

    def signatures(self, source: Source) -> tuple[str, ...]:
        """Return the values that hold a signature: one, or of each of several fields there is.

        Raises:
            Refusal: SIGNATURE_MISSING when there is none, and as `required` does.
        """
        if not isinstance(source, HeaderFields):
            return (self.required(source),)
        found = [self._head.headers.single(name.lower()) for name in source.names]
        if values := tuple(filter(None, found)):
            return values
        named = ", ".join(source.names)
        raise Refusal(Reason.SIGNATURE_MISSING, f"none of {named} is there exactly once")

    def required(self, field: Field) -> str:
        """Return the text of a header field or a field of the body; as Latin-1 in either case.

        Raises:
            Refusal: SIGNATURE_MISSING when it is missing or empty, and as `header` and `field` do.
        """
        match field:
            case HeaderField(name):
                return self.header(name)
            case JsonField(pointer):
                name, text = pointer, self.field(pointer_of(pointer))
            case QueryField(name):
                text = self.parameter(name)
            case _:
                name, text = field.name, self.form_field(field.name)
        if not text:
            raise Refusal(Reason.SIGNATURE_MISSING, f"{name} is missing or empty")
        # As a header field's: its bytes, each as one letter.
        return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")

    def optional(self, field: Field) -> str | None:
        """Return the text of a field, or None when it is missing, empty or not unique.

        Raises:
            Refusal: BODY_MALFORMED.
        """
        match field:
            case HeaderField(name):
                return self._head.headers.single(name.lower())
            case JsonField(pointer):
                return text_of(pointer_of(pointer).find(self.json)) or None
            case QueryField(name):
                values = self.query.values(name)
            case _:
                values = self.form.values(field.name)
        return values[0] or None if len(values) == 1 else None


def has_stars(field: Source) -> bool:
    """Return whether a pointer stands for every element of a list."""
    return isinstance(field, JsonField) and bool(pointer_of(field.pointer).stars)


def _one(form: Form, name: str) -> str:
    other = form.other_spelling(name)
    if other is not None:
        raise Refusal(Reason.FIELD_INVALID, f"{other!r} is another spelling of {name}")
    values = form.values(name)
    if len(values) > 1:
        raise Refusal(Reason.FIELD_INVALID, f"{name} is there more than once")
    return values[0] if values else ""


# An endpoint asks for the same few each time.
pointer_of: Final = lru_cache(maxsize=1024)(Pointer)
