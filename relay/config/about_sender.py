"""What a description says of its sender, and the message of its sample."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from relay.config.types import Section, default, header_name
from relay.providers import inline

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_FIELD_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")


def _day(value: object) -> date:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("write a date, as 2026-11-30")


def _document(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not text.isprintable():
        raise ValueError("write the URL of a page, as https://docs.example.com/webhooks")
    return text


def _said(text: str) -> str:
    line = " ".join(text.split())
    if not line or not line.isprintable():
        raise ValueError("write a sentence")
    return line


def _header_fields(fields: dict[str, str]) -> dict[str, str]:
    for name, value in fields.items():
        header_name(name)
        if not _FIELD_VALUE.fullmatch(value):
            raise ValueError("a header field's value is visible ASCII, with no blank at its ends")
    return fields


def _as_text(value: object) -> object:
    return str(value) if type(value) is int else value


def _json(value: object) -> Any:  # noqa: ANN401 - what JSON may hold
    """Return a value of a YAML file in JSON's types."""
    match value:
        case Mapping():
            return {str(name): _json(each) for name, each in value.items()}
        case list() | tuple():
            return [_json(each) for each in value]
        case str() | int() | float() | bool() | None:
            return value
    raise ValueError("write what JSON may hold")


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
DocumentUrl = Annotated[str, AfterValidator(_document)]
Said = Annotated[str, AfterValidator(_said)]
SampleText = Annotated[
    str, BeforeValidator(_as_text), WithJsonSchema({"type": ["string", "integer"]})
]
SampleHeaders = Annotated[dict[str, SampleText], AfterValidator(_header_fields)]
SampleJson = Annotated[
    Any, BeforeValidator(_json), WithJsonSchema({"type": ["object", "array", "null"]})
]


class About(Section):
    """What is known of the sender. `relay providers show` prints it."""

    title: Said = Field(
        description="What it is, in a few words.", examples=["Orders of the shop example.com"]
    )
    documents: tuple[DocumentUrl, ...] = default(
        (), description="Where it was read.", examples=[["https://docs.example.com/webhooks"]]
    )
    reviewed: Day | None = default(
        None,
        description=(
            "When this was last compared with them; `relay check` warns of one that is older than a"
            " year."
        ),
        examples=["2026-11-30"],
    )
    traps: tuple[Said, ...] = default(
        (),
        description="What its users have to mind.",
        examples=[["The topic is not signed."]],
    )
    vector: Said | None = default(
        None,
        description="Where a published signed message was taken from, or why there is none.",
        examples=["None is published."],
    )

    def about(self) -> inline.About:
        return inline.About(
            self.title, self.documents, self.reviewed, self.traps, self.vector or ""
        )


class SampleMessage(Section):
    """What `relay send` signs. {id}, {hex}, {number} and {time:s} are made fresh each time."""

    headers: SampleHeaders = default(
        {}, description="Header fields besides the signature.", examples=[{"X-Event": "order"}]
    )
    query: dict[str, SampleText] = default(
        {}, description="Parameters of the query.", examples=[{"kind": "order"}]
    )
    json_: SampleJson = default(
        None,
        alias="json",
        description="The body, in JSON. A text that is {number} or {time:s} becomes a number.",
        examples=[{"id": "{id}", "amount": 10000}],
    )
    form: dict[str, SampleText] | None = default(
        None, description="Or the body, as a form.", examples=[{"id": "{id}", "amount": "10000"}]
    )
    text: str | None = default(
        None, description="Or the body, as it is.", examples=["id={id};amount=10000"]
    )

    @model_validator(mode="after")
    def _one_body(self) -> "SampleMessage":
        if sum(each is not None for each in (self.json_, self.form, self.text)) > 1:
            raise ValueError("holds several bodies; write json, form or text")
        return self

    def message(self) -> inline.SampleMessage:
        return inline.SampleMessage(self.headers, self.query, self.json_, self.form, self.text)
