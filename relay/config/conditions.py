"""The keys of conditions: where a value stands, and what it is compared with."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from relay.config.types import HeaderName, JsonPointer, Section
from relay.core.conditions import Condition, HeaderCondition, JsonCondition
from relay.core.secret import Secret
from relay.providers import RequiredField


def _no_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty: a field that is not there would do")
    return text


def _text_or_secret(value: object) -> str | Secret:
    # A reference has been replaced before; what is none was left as it is.
    if isinstance(value, Secret):
        return value
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        raise ValueError("write text, in quotes where it looks like something else")  # noqa: TRY004 - pydantic
    return _no_empty(value)


RequiredText = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    AfterValidator(_no_empty),
    WithJsonSchema({"type": ["string", "integer"], "minLength": 1}),
]
#: A text, or a reference to a secret.
TextOrSecret = Annotated[
    str | Secret,
    PlainValidator(_text_or_secret),
    WithJsonSchema({"type": ["string", "integer"], "minLength": 1}),
]


# ---- a value that has to be one of some texts ------------------------------------------------


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

    def rule(self) -> RequiredField:
        return RequiredField(self.json_, (self.is_,))


class JsonIn(Section):
    """A field of the body that has one of several values."""

    json_: JsonPointer = Field(alias="json", description="A JSON pointer.", examples=["/type"])
    in_: tuple[RequiredText, ...] = Field(
        alias="in", min_length=1, description="Its values, as text.", examples=[["charge", "fee"]]
    )

    def condition(self) -> Condition:
        return JsonCondition(self.json_, self.in_)

    def rule(self) -> RequiredField:
        return RequiredField(self.json_, self.in_)
