"""What is signed: text with placeholders -> bytes."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from relay.errors import Reason, Refusal
from relay.inline.message import Message
from relay.inline.pointer import Pointer
from relay.minify import minify

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PART = re.compile(r"\{([^{}]*)\}")

#: Placeholders that stand for something of the request.
_REQUEST: Final[Mapping[str, Callable[[Message], bytes]]] = MappingProxyType(
    {
        "body": lambda message: message.body,
        "minified_body": lambda message: minify(message.body),
        "sha256_hex:body": lambda message: _sha256(message.body).hex().encode(),
        "sha256_base64:body": lambda message: b64encode(_sha256(message.body)),
        "sha256_hex:minified_body": lambda message: _sha256(minify(message.body)).hex().encode(),
        "method": lambda message: message.method.encode("latin-1"),
        "path": lambda message: message.path.encode("latin-1"),
        "path_query": lambda message: message.path_query.encode("latin-1"),
        "host": lambda message: message.url.host.encode("latin-1"),
        "public_url": lambda message: message.url.whole.encode("latin-1"),
    }
)
_BODY = frozenset(name for name in _REQUEST if name.endswith("body"))
#: The others, as a person writes them.
_OTHERS = ("timestamp", "secret", "header:NAME", "json:/path")


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that is always the same."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One of `_REQUEST`, or `timestamp`, `secret`, `header`, `json`."""

    kind: str
    name: str = ""
    pointer: Pointer | None = None


Part = Literal | Placeholder


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
        self.parts: Final = tuple(parts)

    def holds(self, kind: str) -> bool:
        """Tell whether a placeholder of this kind is in it."""
        return any(isinstance(part, Placeholder) and part.kind == kind for part in self.parts)

    @property
    def covers_body(self) -> bool:
        """Whether all of the body is in it, as it is, minified or hashed."""
        return any(self.holds(kind) for kind in _BODY)

    @property
    def minifies(self) -> bool:
        return self.holds("minified_body") or self.holds("sha256_hex:minified_body")

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the header fields in it."""
        return tuple(
            p.name for p in self.parts if isinstance(p, Placeholder) and p.kind == "header"
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the body in it: their pointers without the first slash."""
        names = (p.name for p in self.parts if isinstance(p, Placeholder) and p.kind == "json")
        return tuple(dict.fromkeys(names))

    def fill(self, message: Message, timestamp: str) -> tuple[bytes | None, ...]:
        """Return what each part stands for in this message; None for the secret.

        Raises:
            Refusal: a header field or the body is not as it has to be.
        """
        return tuple(_value(part, message, timestamp) for part in self.parts)


def says_something(
    parts: Sequence[Part], filled: Sequence[bytes | None], apart_from: Collection[str] = ()
) -> bool:
    """Tell whether any field of the body but these stands for text in this message."""
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


def _value(part: Part, message: Message, timestamp: str) -> bytes | None:
    if isinstance(part, Literal):
        return part.text
    if part.pointer is not None:
        return message.field(part.pointer).encode()
    if part.kind == "header":
        return message.header(part.name).encode("latin-1")
    if part.kind == "timestamp":
        # A field of the body may hold anything; every form of a time is ASCII.
        if not timestamp.isascii():
            raise Refusal(Reason.TIMESTAMP_INVALID, "the signed time is not ASCII")
        return timestamp.encode("ascii")
    return None if part.kind == "secret" else _REQUEST[part.kind](message)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
