"""The values that a signed text is made of: of the request, of its body, of the time."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from relay.core.errors import Reason, Refusal
from relay.core.json_pointer import Pointer
from relay.providers.inline import FormField, JsonField, Source
from relay.providers.inline.filled import Filled
from relay.providers.inline.message import Message

#: The value of a part in a message, with the signed time; None for the secret.
Filler = Callable[[Message, str], Filled]

#: Placeholders that are all there is to say.
_REQUEST: Final[Mapping[str, Callable[[Message], bytes]]] = MappingProxyType(
    {
        "body": lambda message: message.body,
        "minified_body": lambda message: message.minified_body,
        "method": lambda message: message.method.encode("latin-1"),
        "path": lambda message: message.path.encode("latin-1"),
        "path_query": lambda message: message.path_query.encode("latin-1"),
        "host": lambda message: message.url.host.encode("latin-1"),
        "public_url": lambda message: message.url.whole.encode("latin-1"),
    }
)
#: Placeholders without a name behind a colon.
PLAIN: Final = (*_REQUEST, "json_sorted", "form_sorted", "timestamp", "secret")
#: Placeholders with one.
NAMED: Final = ("header", "json", "form", "query", "body_without")

#: All of the body as it came, or but for its white space.
AS_IT_CAME: Final = frozenset({"body", "minified_body"})
#: All of the body but the signature in it.
BUT_THE_SIGNATURE: Final = frozenset({"json_sorted", "form_sorted", "body_without"})
#: All of what the body says is in each of these.
WHOLE_BODY: Final = AS_IT_CAME | BUT_THE_SIGNATURE
#: They need a body of JSON.
OF_JSON: Final = frozenset({"json", "minified_body", "json_sorted", "body_without"})
#: They need a form.
OF_FORM: Final = frozenset({"form", "form_sorted"})


def filler(kind: str, name: str, own: Source | None) -> Filler:
    """Return the function that gives a placeholder its value.

    own: where the signature stands, which is left out of sorted keys and fields.
    """
    match kind:
        case "header":
            return lambda message, _: message.header(name).encode("latin-1")
        case "query":
            return lambda message, _: message.parameter(name).encode()
        case "timestamp":
            return _timestamp
        case "secret":
            return lambda *_: None
        case "json" | "body_without" | "json_sorted":
            return _of_json(kind, name, own)
        case _:
            return _of_form(kind, name, own) if kind in OF_FORM else _of_request(_REQUEST[kind])


def _of_request(value: Callable[[Message], bytes]) -> Filler:
    return lambda message, _: value(message)


def _of_json(kind: str, name: str, own: Source | None) -> Filler:
    if kind == "json_sorted":
        left_out = Pointer(own.pointer) if isinstance(own, JsonField) else None
        return lambda message, _: message.json_sorted(left_out)
    pointer = Pointer(f"/{name}")
    if kind == "json":
        return lambda message, _: message.field(pointer).encode()
    return lambda message, _: message.body_without(pointer)


def _of_form(kind: str, name: str, own: Source | None) -> Filler:
    if kind == "form":
        return lambda message, _: message.form_field(name).encode()
    left_out = own.name if isinstance(own, FormField) else None
    return lambda message, _: message.form_sorted(left_out)


def _timestamp(_: Message, timestamp: str) -> bytes:
    # A field of the body may hold anything; every form of a time is ASCII.
    if not timestamp.isascii():
        raise Refusal(Reason.TIMESTAMP_INVALID, "the signed time is not ASCII")
    return timestamp.encode("ascii")
