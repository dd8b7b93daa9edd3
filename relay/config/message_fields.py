"""References to a value of a message, as the keys of a described provider have them."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from relay.config.types import HeaderName, JsonPointer, Section
from relay.providers import inline


class HeaderField(Section):
    """A header field of the request."""

    header: HeaderName = Field(description="Its name.", examples=["X-Hub-Signature-256"])

    def fields(self) -> tuple[inline.Field, ...]:
        return (inline.HeaderField(self.header),)

    def source(self) -> inline.Source:
        return inline.HeaderField(self.header)


class JsonField(Section):
    """A field of the body."""

    json_: JsonPointer = Field(alias="json", description="A JSON pointer.", examples=["/signature"])

    def fields(self) -> tuple[inline.Field, ...]:
        return (inline.JsonField(self.json_),)

    def source(self) -> inline.Source:
        return inline.JsonField(self.json_)


class QueryField(Section):
    """A parameter of the query."""

    query: str = Field(min_length=1, description="Its name.", examples=["token"])

    def fields(self) -> tuple[inline.Field, ...]:
        return (inline.QueryField(self.query),)

    def source(self) -> inline.Source:
        return inline.QueryField(self.query)


class FormField(Section):
    """A field of a form in the body."""

    form: str = Field(min_length=1, description="Its name.", examples=["signature"])

    def fields(self) -> tuple[inline.Field, ...]:
        return (inline.FormField(self.form),)

    def source(self) -> inline.Source:
        return inline.FormField(self.form)


class AnyHeaderField(Section):
    """Several header fields, any of which may hold the signature."""

    headers: tuple[HeaderName, ...] = Field(
        min_length=1, description="Their names.", examples=[["X-Signature-1", "X-Signature-2"]]
    )

    def source(self) -> inline.Source:
        return inline.HeaderFields(self.headers)


class JsonFields(Section):
    """Fields of the body, taken together."""

    json_: tuple[JsonPointer, ...] = Field(
        alias="json",
        min_length=1,
        description="JSON pointers.",
        examples=[["/id", "/status"]],
    )

    def fields(self) -> tuple[inline.Field, ...]:
        return tuple(inline.JsonField(pointer) for pointer in self.json_)


class FormFields(Section):
    """Fields of a form, taken together."""

    form: tuple[str, ...] = Field(
        min_length=1, description="Their names.", examples=[["orderId", "status"]]
    )

    def fields(self) -> tuple[inline.Field, ...]:
        return tuple(map(inline.FormField, self.form))


def _field_tag(value: object) -> str:
    for section, tag in _TAGS.items():
        if isinstance(value, section):
            return tag
    held = value if isinstance(value, dict) else {}
    return next((tag for tag in ("json", "query", "form", "headers") if tag in held), "header")


def _fields_tag(value: object) -> str:
    several = isinstance(value, FormFields)
    if isinstance(value, dict):
        several = "json" not in value and isinstance(value.get("form"), list | tuple)
    return "forms" if several else _field_tag(value)


_TAGS: dict[type[Section], str] = {
    JsonField: "json",
    JsonFields: "json",
    QueryField: "query",
    FormField: "form",
    AnyHeaderField: "headers",
}

#: One value of a message.
MessageField = Annotated[
    Annotated[HeaderField, Tag("header")]
    | Annotated[JsonField, Tag("json")]
    | Annotated[QueryField, Tag("query")]
    | Annotated[FormField, Tag("form")],
    Discriminator(_field_tag),
]
#: The values that together make an event unique.
MessageFields = Annotated[
    Annotated[HeaderField, Tag("header")]
    | Annotated[JsonFields, Tag("json")]
    | Annotated[QueryField, Tag("query")]
    | Annotated[FormField, Tag("form")]
    | Annotated[FormFields, Tag("forms")],
    Discriminator(_fields_tag),
]
#: Where a signature stands.
SignatureField = Annotated[
    Annotated[HeaderField, Tag("header")]
    | Annotated[AnyHeaderField, Tag("headers")]
    | Annotated[JsonField, Tag("json")]
    | Annotated[QueryField, Tag("query")]
    | Annotated[FormField, Tag("form")],
    Discriminator(_field_tag),
]
