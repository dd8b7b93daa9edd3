"""The keys of challenges: requests that a described sender tries an endpoint with."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from relay.config.conditions import TextOrSecret
from relay.config.types import HeaderName, JsonPointer, SecretText, Section, default
from relay.config.yaml_document import nearest
from relay.core.conditions import (
    FieldCondition,
    FormCondition,
    HeaderCondition,
    JsonCondition,
    MethodCondition,
    QueryCondition,
    RequestCondition,
)
from relay.core.secret import Secret
from relay.providers.inline.challenge_rules import (
    PLAIN,
    AnswerRule,
    ChallengeRule,
)

# ---- when -----------------------------------------------------------------------------------

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


class MethodIs(Section):
    """The method that a request has."""

    method: Method = Field(description="Its method.", examples=["GET"])

    def conditions(self) -> tuple[RequestCondition, ...]:
        return (MethodCondition(self.method),)

    def secrets(self) -> tuple[Secret, ...]:
        return ()


class _Compared(Section):
    """A value that a request has; its method may be said beside it."""

    is_: TextOrSecret | None = default(
        None,
        alias="is",
        description="The value, as text, or a secret. Without this and `in` it may be any.",
        examples=["${env:VERIFY_TOKEN}"],
    )
    in_: tuple[TextOrSecret, ...] | None = default(
        None,
        alias="in",
        min_length=1,
        description="Several values, of which it is one.",
        examples=[["url_verification"]],
    )
    method: Method | None = default(
        None, description="The method of the request.", examples=["GET"]
    )

    def conditions(self) -> tuple[RequestCondition, ...]:
        texts = tuple(each for each in self._given if isinstance(each, str))
        found = self._condition(texts, self.secrets())
        return (found,) if self.method is None else (MethodCondition(self.method), found)

    def secrets(self) -> tuple[Secret, ...]:
        return tuple(each for each in self._given if isinstance(each, Secret))

    @property
    def _given(self) -> tuple[str | Secret, ...]:
        return (self.is_,) if self.is_ is not None else self.in_ or ()

    def _condition(self, texts: tuple[str, ...], secrets: tuple[Secret, ...]) -> FieldCondition:
        raise NotImplementedError


class JsonValue(_Compared):
    """A field of the body."""

    json_: JsonPointer = Field(alias="json", description="A JSON pointer.", examples=["/challenge"])

    def _condition(self, texts: tuple[str, ...], secrets: tuple[Secret, ...]) -> FieldCondition:
        return JsonCondition(self.json_, texts, secrets)


class QueryValue(_Compared):
    """A parameter of the query."""

    query: str = Field(min_length=1, description="Its name.", examples=["hub.verify_token"])

    def _condition(self, texts: tuple[str, ...], secrets: tuple[Secret, ...]) -> FieldCondition:
        return QueryCondition(self.query, texts, secrets)


class HeaderValue(_Compared):
    """A header field."""

    header: HeaderName = Field(description="Its name.", examples=["X-Hook-Secret"])

    def _condition(self, texts: tuple[str, ...], secrets: tuple[Secret, ...]) -> FieldCondition:
        return HeaderCondition(self.header, texts, secrets)


class FormValue(_Compared):
    """A field of a form in the body."""

    form: str = Field(min_length=1, description="Its name.", examples=["challenge"])

    def _condition(self, texts: tuple[str, ...], secrets: tuple[Secret, ...]) -> FieldCondition:
        return FormCondition(self.form, texts, secrets)


_SOURCES, _COMPARED = ("json", "query", "header", "form"), ("is", "in")
_SAMPLE = "such as {json: /challenge}"


def _one_place(value: object) -> object:
    """Raise ValueError unless a mapping names a method or one value, and how it is compared."""
    if isinstance(value, Section):
        return value
    if not isinstance(value, dict):
        message = f"write a mapping, {_SAMPLE}"
        raise ValueError(message)  # noqa: TRY004 - pydantic
    for keys in (_SOURCES, _COMPARED):
        held = [key for key in keys if key in value]
        if len(held) > 1:
            raise ValueError(f"{' and '.join(held)} at once; write one of them in each mapping")
    # A misspelled key is told of by itself.
    if all(key in {"method", *_COMPARED} for key in value) and [*value] != ["method"]:
        if any(key in value for key in _COMPARED):
            raise ValueError(f"does not say which value; write {' or '.join(_SOURCES)}")
        raise ValueError(f"says nothing; write what only the challenge has, {_SAMPLE}")
    return value


def _source_tag(value: object) -> str:
    held = value if isinstance(value, dict) else {}
    for section, tag in _TAGS.items():
        if isinstance(value, section) or tag in held:
            return tag
    near = (nearest(str(key), (*_SOURCES, "method")) for key in held)
    return next(filter(None, near), "json")


_TAGS: dict[type[Section], str] = {
    JsonValue: "json",
    QueryValue: "query",
    HeaderValue: "header",
    FormValue: "form",
    MethodIs: "method",
}

When = Annotated[
    Annotated[JsonValue, Tag("json")]
    | Annotated[QueryValue, Tag("query")]
    | Annotated[HeaderValue, Tag("header")]
    | Annotated[FormValue, Tag("form")]
    | Annotated[MethodIs, Tag("method")],
    Discriminator(_source_tag),
    BeforeValidator(_one_place),
]


def _some(value: object) -> object:
    if value == ():
        raise ValueError(f"says nothing; write what only the challenge has, {_SAMPLE}")
    return value


def _when_tag(value: object) -> str:
    return "several" if isinstance(value, tuple) else "one"


#: One mapping, or several that all have to hold.
Whens = Annotated[
    Annotated[When, Tag("one")]
    | Annotated[tuple[When, ...], BeforeValidator(_some), Tag("several")],
    Discriminator(_when_tag),
]


# ---- answer ---------------------------------------------------------------------------------

#: Header fields that say how the answer is read, or what a browser does with it.
_OURS = frozenset(
    {
        *("connection", "date", "keep-alive", "location", "refresh", "server", "set-cookie"),
        *("trailer", "transfer-encoding", "upgrade", "x-content-type-options"),
    }
)


def _answer_headers(value: object) -> object:
    if isinstance(value, dict):
        for name in map(str, value):
            lower = name.lower()
            if lower in _OURS or lower.startswith(("content-", "access-control-", "cross-origin-")):
                raise ValueError(f"{name} is relay's own to write; leave it out")
    return value


def _json_template(value: object) -> object:
    if not isinstance(value, dict | tuple | list):
        raise ValueError('write a mapping, such as {challenge: "{json:/challenge}"}')  # noqa: TRY004 - pydantic
    _check_json(value)
    return value


def _check_json(value: object) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise ValueError("the names of fields are text; write them in quotes")  # noqa: TRY004 - pydantic
            _check_json(each)
    elif isinstance(value, tuple | list):
        for each in value:
            _check_json(each)
    elif value is not None and not isinstance(value, str | bool | int):
        raise ValueError("holds what is no text, whole number, true, false or null")


class ChallengeAnswer(Section):
    """What a challenge is answered with, with status 200."""

    text: str | None = default(None, description="A text.", examples=["{query:hub.challenge}"])
    json_: (
        Annotated[
            Any, PlainValidator(_json_template), WithJsonSchema({"type": ["object", "array"]})
        ]
        | None
    ) = default(
        None,
        alias="json",
        description="JSON, in place of `text`.",
        examples=[{"challenge": "{json:/challenge}"}],
    )
    headers: Annotated[dict[HeaderName, str], BeforeValidator(_answer_headers)] = default(
        {}, description="Header fields.", examples=[{"X-Hook-Secret": "{header:X-Hook-Secret}"}]
    )

    def rule(self) -> AnswerRule:
        headers = tuple(self.headers.items())
        if self.json_ is not None:
            return AnswerRule(None, self.json_, headers)
        # Header fields alone are the whole answer.
        usual = "" if headers else PLAIN
        return AnswerRule(usual if self.text is None else self.text, None, headers)


def _one_body(value: object) -> object:
    if isinstance(value, dict) and "text" in value and "json" in value:
        raise ValueError("text and json at once; write one of them")
    return value


class Challenge(Section):
    """A request that a sender tries the endpoint with."""

    when: Whens = Field(
        description="What it has; a list where it has several things at once.",
        examples=[{"json": "/challenge"}],
    )
    signed: bool = default(
        True, description="`false`: it is answered without a signature, to any allowed address."
    )
    secret: SecretText | None = default(
        None,
        description="Signs what `answer` holds signed, in place of that of `secrets` which fitted.",
        examples=["${env:CHALLENGE_SECRET}"],
    )
    answer: Annotated[ChallengeAnswer, BeforeValidator(_one_body)] = default(
        ChallengeAnswer(),
        description="What it is answered with. Default: `OK`.",
        examples=[{"json": {"challenge": "{json:/challenge}"}}],
    )

    @property
    def _whens(self) -> tuple[When, ...]:
        return self.when if isinstance(self.when, tuple) else (self.when,)

    def rule(self) -> ChallengeRule:
        when = tuple(found for each in self._whens for found in each.conditions())
        return ChallengeRule(when, self.answer.rule(), self.signed, self.secret)

    def secrets(self) -> list[Secret]:
        """Return every secret in it."""
        found = [secret for each in self._whens for secret in each.secrets()]
        return found if self.secret is None else [*found, self.secret]
