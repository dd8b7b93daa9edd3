"""The values of `relay.config.values` as types of settings, each with its JSON Schema."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from netaddr import IPNetwork
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from relay.config import values
from relay.networks import parse_host_name
from relay.secret import Secret
from relay.sources.nameservers import Nameserver


class Section(BaseModel):
    """A mapping in the file. Nothing is converted: a quoted number is text, not a number."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        strict=True,
        validate_default=True,
    )


def default(value: object, **about: Any) -> Any:  # noqa: ANN401 - as pydantic.Field
    """Declare a key that may be left out; its default is written as it would stand in the file."""
    return Field(value, **about)


def _absolute(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("write the path of a file, such as relay.db")
    base = info.context["base"] if info.context else Path()
    return Path(base) / value


def _secret(value: object) -> Secret:
    # References have been replaced before; what is no text was left as it is.
    if not isinstance(value, Secret):
        raise ValueError("write ${env:NAME} or ${file:PATH}, or other text in quotes")  # noqa: TRY004 - pydantic
    return value


Duration = Annotated[
    timedelta,
    PlainValidator(values.duration),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$"}),
]
DurationOrZero = Annotated[
    timedelta,
    PlainValidator(values.duration_or_zero),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$"}),
]
Size = Annotated[
    int,
    PlainValidator(values.size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^[0-9]{1,9}(B|KiB|MiB|GiB)$"},
            ]
        }
    ),
]
BindText = Annotated[values.Bind, PlainValidator(values.bind), WithJsonSchema({"type": "string"})]
NameserverText = Annotated[
    Nameserver, PlainValidator(values.nameserver), WithJsonSchema({"type": "string"})
]
Network = Annotated[IPNetwork, PlainValidator(values.network), WithJsonSchema({"type": "string"})]
Member = Annotated[
    IPNetwork | str, PlainValidator(values.member), WithJsonSchema({"type": "string"})
]
SecretText = Annotated[Secret, PlainValidator(_secret), WithJsonSchema({"type": "string"})]
FilePath = Annotated[Path, BeforeValidator(_absolute), WithJsonSchema({"type": "string"})]
HeaderName = Annotated[str, AfterValidator(values.header_name)]
HostName = Annotated[str, AfterValidator(parse_host_name)]
JsonPointer = Annotated[str, AfterValidator(values.json_pointer)]
Label = Annotated[str, AfterValidator(values.label)]
Pattern = Annotated[
    str, AfterValidator(values.pattern), WithJsonSchema({"type": "string", "format": "regex"})
]
PublicPath = Annotated[str, AfterValidator(values.public_path)]
PublicUrl = Annotated[str, AfterValidator(values.public_url)]
UpstreamUrl = Annotated[str, AfterValidator(values.upstream_url)]
