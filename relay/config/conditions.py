"""The keys of conditions: where a value stands, and what it is compared with."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema

from relay.core.secret import Secret


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
