"""The keys of routes: which upstreams an event of an endpoint goes to, by a value in it."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from relay.config.inline_provider import RequiredText
from relay.config.types import HeaderName, JsonPointer, Section
from relay.core.conditions import Condition, HeaderCondition, JsonCondition


class HeaderIs(Section):
    """A header field that has one value."""

    header: HeaderName = Field(description="Its name.", examples=["X-GitHub-Event"])
    is_: RequiredText = Field(alias="is", description="Its value.", examples=["ping"])

    def condition(self) -> Condition:
        return HeaderCondition(self.header, (self.is_,))


class HeaderIn(Section):
    """A header field that has one of several values."""

    header: HeaderName = Field(description="Its name.", examples=["X-GitHub-Event"])
    in_: tuple[RequiredText, ...] = Field(
        alias="in", min_length=1, description="Its values, as text.", examples=[["charge", "fee"]]
    )

    def condition(self) -> Condition:
        return HeaderCondition(self.header, self.in_)


class JsonIs(Section):
    """A field of the body that has one value."""

    json_: JsonPointer = Field(alias="json", description="A JSON pointer.", examples=["/type"])
    is_: RequiredText = Field(alias="is", description="Its value, as text.", examples=["charge"])

    def condition(self) -> Condition:
        return JsonCondition(self.json_, (self.is_,))


class JsonIn(Section):
    """A field of the body that has one of several values."""

    json_: JsonPointer = Field(alias="json", description="A JSON pointer.", examples=["/type"])
    in_: tuple[RequiredText, ...] = Field(
        alias="in", min_length=1, description="Its values, as text.", examples=[["charge", "fee"]]
    )

    def condition(self) -> Condition:
        return JsonCondition(self.json_, self.in_)


def _when_tag(value: object) -> str:
    if isinstance(value, HeaderIs | HeaderIn | JsonIs | JsonIn):
        return _TAGS[type(value)]
    held = value if isinstance(value, dict) else {}
    return f"{'json' if 'json' in held else 'header'} {'in' if 'in' in held else 'is'}"


_TAGS: dict[type[Section], str] = {
    HeaderIs: "header is",
    HeaderIn: "header in",
    JsonIs: "json is",
    JsonIn: "json in",
}


When = Annotated[
    Annotated[HeaderIs, Tag("header is")]
    | Annotated[HeaderIn, Tag("header in")]
    | Annotated[JsonIs, Tag("json is")]
    | Annotated[JsonIn, Tag("json in")],
    Discriminator(_when_tag),
]


class Route(Section):
    """Where events go that hold a value."""

    when: When = Field(
        description="A header field or a JSON value, and `is` or `in`.",
        examples=[{"header": "X-GitHub-Event", "is": "ping"}],
    )
    upstreams: tuple[str, ...] = Field(
        description="The upstreams that receive such events; none: they are stored and delivered"
        " nowhere.",
        examples=[["billing", "ledger"]],
    )


Routes = tuple[Route, ...]
