"""Build the signed text: a template over header fields, URL parts and values of the body."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from relay.core.errors import Reason, Refusal
from relay.core.json_pointer import Pointer
from relay.providers.inline.message import Message

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PART = re.compile(r"\{([^{}]*)\}")

#: Placeholders for parts of the request.
_REQUEST: Final[Mapping[str, Callable[[Message], bytes]]] = MappingProxyType(
    {
        "body": lambda message: message.body,
        "minified_body": lambda message: message.minified_body,
        "sha256_hex:body": lambda message: message.body_digest.hex().encode(),
        "sha256_base64:body": lambda message: b64encode(message.body_digest),
        "sha256_hex:minified_body": lambda message: (
            hashlib.sha256(message.minified_body).hexdigest().encode()
        ),
        "method": lambda message: message.method.encode("latin-1"),
        "path": lambda message: message.path.encode("latin-1"),
        "path_query": lambda message: message.path_query.encode("latin-1"),
        "host": lambda message: message.url.host.encode("latin-1"),
        "public_url": lambda message: message.url.whole.encode("latin-1"),
    }
)
_BODY = frozenset(name for name in _REQUEST if name.endswith("body"))
#: The others, as the configuration has them.
_OTHERS = ("timestamp", "secret", "header:NAME", "json:/path")


@dataclass(frozen=True, slots=True)
class Literal:
    """Constant text."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One of `_REQUEST`, or `timestamp`, `secret`, `header`, `json`."""

    kind: str
    name: str = ""
    pointer: Pointer | None = None


Part = Literal | Placeholder

#: The value of a part in a message, with the signed time; None for the secret.
Filler = Callable[[Message, str], bytes | None]


class Template:
    """A parsed template.

    Raises:
        ValueError: it holds an unknown placeholder or a brace that belongs to none.
    """

    def __init__(self, text: str) -> None:
        pieces = _PART.split(text)
        parts: list[Part] = []
        for at, piece in enumerate(pieces):
            if at % 2:
                parts.append(_placeholder(piece))
            elif "{" in piece or "}" in piece:
                raise ValueError('a brace stands alone; placeholders look like "{body}"')
            elif piece:
                parts.append(Literal(piece.encode()))
        placeholders = [part for part in parts if isinstance(part, Placeholder)]
        self._kinds = frozenset(part.kind for part in placeholders)
        self.parts: Final = tuple(parts)
        self._fillers = tuple(map(_filler, parts))
        #: Whether all of the body is in it, as it is, minified or hashed.
        self.covers_body: Final = not self._kinds.isdisjoint(_BODY)
        #: The names of the header fields in it.
        self.headers: Final = tuple(part.name for part in placeholders if part.kind == "header")
        #: The fields of the body in it, each once: their pointers without the first slash.
        self.fields: Final = tuple(
            dict.fromkeys(part.name for part in placeholders if part.kind == "json")
        )

    def holds(self, kind: str) -> bool:
        """Tell whether a placeholder of this kind is in it."""
        return kind in self._kinds

    @property
    def minifies(self) -> bool:
        return self.holds("minified_body") or self.holds("sha256_hex:minified_body")

    def fill(self, message: Message, timestamp: str) -> tuple[bytes | None, ...]:
        """Return the value of each part in this message; None for the secret.

        Raises:
            Refusal: a header field or the body is not as it has to be.
        """
        return tuple([fill(message, timestamp) for fill in self._fillers])


def any_field_present(
    parts: Sequence[Part], filled: Sequence[bytes | None], apart_from: Collection[str] = ()
) -> bool:
    """Tell whether a field of the body, other than these, is non-empty in this message."""
    return any(
        isinstance(part, Placeholder)
        and part.kind == "json"
        and part.name not in apart_from
        and bool(text)
        for part, text in zip(parts, filled, strict=True)
    )


def _placeholder(text: str) -> Placeholder:
    if text in _REQUEST or text in {"timestamp", "secret"}:
        return Placeholder(text)
    kind, _, name = text.partition(":")
    if kind == "header" and _TOKEN.fullmatch(name):
        return Placeholder(kind, name)
    if kind == "json" and name:
        pointer = Pointer(name)
        return Placeholder(kind, pointer.name, pointer)
    known = ", ".join(f"{{{name}}}" for name in (*_REQUEST, *_OTHERS))
    raise ValueError(f"there is no such placeholder; there are: {known}")


def _filler(part: Part) -> Filler:
    """Return the function that gives a part its value in a message with this signed time."""
    if isinstance(part, Literal):
        text = part.text
        return lambda *_: text
    if part.pointer is not None:
        pointer = part.pointer
        return lambda message, _: message.field(pointer).encode()
    if part.kind == "header":
        name = part.name
        return lambda message, _: message.header(name).encode("latin-1")
    if part.kind == "timestamp":
        return _timestamp
    if part.kind == "secret":
        return lambda *_: None
    of_request = _REQUEST[part.kind]
    return lambda message, _: of_request(message)


def _timestamp(_: Message, timestamp: str) -> bytes:
    # A field of the body may hold anything; every form of a time is ASCII.
    if not timestamp.isascii():
        raise Refusal(Reason.TIMESTAMP_INVALID, "the signed time is not ASCII")
    return timestamp.encode("ascii")
