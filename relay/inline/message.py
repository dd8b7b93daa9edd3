"""One delivery as a description looks at it. The body is parsed once, and only when asked for."""

from functools import cached_property

from relay import strictjson
from relay.errors import Reason, Refusal
from relay.inline import Field, HeaderField
from relay.inline.pointer import Pointer, spelled
from relay.inline.urls import SignedUrl
from relay.model import Delivery
from relay.strictjson import JsonObject


class Message:
    """A delivery, and the URL that its sender signed."""

    def __init__(self, delivery: Delivery, public: SignedUrl | None) -> None:
        """Take the delivery; `public` is the configured URL, when there is one."""
        self._head = delivery.head
        self._public = public
        self.method = delivery.head.method
        self.body = delivery.body

    @cached_property
    def json(self) -> JsonObject:
        """The body, parsed strictly.

        Raises:
            Refusal: BODY_MALFORMED.
        """
        return strictjson.parse_object(self.body)

    @cached_property
    def url(self) -> SignedUrl:
        """The configured URL, or else what arrived.

        Raises:
            Refusal: SIGNATURE_MISMATCH when there is no single Host.
        """
        if self._public is not None:
            return self._public
        hosts = self._head.headers.values("Host")
        if len(hosts) != 1:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "Host is not there exactly once")
        return SignedUrl("", hosts[0], self._head.path, self._head.target)

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
        values = self._head.headers.values(name)
        if len(values) != 1 or not values[0]:
            raise Refusal(Reason.SIGNATURE_MISSING, f"{name} is not there exactly once")
        return values[0]

    def field(self, pointer: Pointer) -> str:
        """Return a field of the body as text; empty when it is not there.

        Raises:
            Refusal: BODY_MALFORMED; FIELD_INVALID when it is an object or a list.
        """
        text = spelled(pointer.find(self.json))
        if text is None:
            raise Refusal(Reason.FIELD_INVALID, f"/{pointer.name} is an object or a list")
        return text

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

    def required(self, field: Field) -> str:
        """Return what stands in a header field or a field of the body.

        Raises:
            Refusal: SIGNATURE_MISSING when that is nothing, and as `header` and `field` do.
        """
        if isinstance(field, HeaderField):
            return self.header(field.name)
        if text := self.field(Pointer(field.pointer)):
            return text
        raise Refusal(Reason.SIGNATURE_MISSING, f"{field.pointer} is missing or empty")

    def optional(self, field: Field) -> str | None:
        """Return what stands there, or None when that is no text that says something.

        Raises:
            Refusal: BODY_MALFORMED.
        """
        if isinstance(field, HeaderField):
            values = self._head.headers.values(field.name)
            return values[0] or None if len(values) == 1 else None
        return spelled(Pointer(field.pointer).find(self.json)) or None
