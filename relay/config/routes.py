"""The keys of routes: which upstreams an event of an endpoint goes to, by a value in it."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Field, Tag

from relay.config.conditions import HeaderIn, HeaderIs, JsonIn, JsonIs
from relay.config.types import Section
from relay.config.yaml_document import nearest, shown

#: Where the value stands, and what it is compared with.
_SOURCES, _COMPARED = ("header", "json"), ("is", "in")
_SAMPLE = "such as {json: /type, is: charge}"


def _one_shape(value: object) -> object:
    """Raise ValueError unless a mapping names one value, and what it is compared with."""
    if isinstance(value, Section):
        return value
    if not isinstance(value, dict):
        message = f"write header or json with is or in, {_SAMPLE}"
        raise ValueError(message)  # noqa: TRY004 - pydantic
    for keys, meant in (
        (_SOURCES, "which value decides"),
        (_COMPARED, "what it is compared with"),
    ):
        held = [key for key in keys if key in value]
        if len(held) > 1:
            raise ValueError(f"{' and '.join(held)} at once; write one of them")
        # A misspelled key is told of by itself.
        if not held and not any(nearest(str(key), keys) for key in value):
            raise ValueError(f"does not say {meant}; write {' or '.join(keys)}, {_SAMPLE}")
    return value


def _when_tag(value: object) -> str:
    if isinstance(value, HeaderIs | HeaderIn | JsonIs | JsonIn):
        return _TAGS[type(value)]
    held = value if isinstance(value, dict) else {}
    source, compared = (_meant(held, keys) for keys in (_SOURCES, _COMPARED))
    return f"{source} {compared}"


def _meant(held: Mapping[object, object], keys: tuple[str, str]) -> str:
    """Return the one of two keys that a mapping has, or one that it misspells, or the first."""
    near = (nearest(str(key), keys) for key in held)
    return next((key for key in keys if key in held), None) or next(filter(None, near), keys[0])


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
    BeforeValidator(_one_shape),
]


def _name(value: object) -> object:
    match value:
        case (str(name),):
            raise ValueError(f"is one name; write upstream: {shown(name)}, without brackets")
        case (str(), str(), *_):
            names = ", ".join(shown(str(each)) for each in value)
            raise ValueError(f"is one name; write upstreams: [{names}] instead")
    return value


def _names(value: object) -> object:
    if isinstance(value, str) and value.strip():
        message = f"write a list: [{shown(value)}]"
        raise ValueError(message)
    return value


UpstreamName = Annotated[str, BeforeValidator(_name)]
UpstreamNames = Annotated[tuple[str, ...], BeforeValidator(_names)]
#: At least one.
SomeUpstreams = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_names)]


class Route(Section):
    """Where events go that hold a value."""

    when: When = Field(
        description="A header field or a JSON value, and `is` or `in`.",
        examples=[{"header": "X-GitHub-Event", "is": "ping"}],
    )
    upstreams: UpstreamNames = Field(
        description="The upstreams that receive such events; none: they are stored and delivered"
        " nowhere.",
        examples=[["billing", "ledger"]],
    )


Routes = tuple[Route, ...]
