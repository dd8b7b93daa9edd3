"""Build the signed text: a template over header fields, URL parts and values of the body."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from relay.core.json_pointer import Pointer
from relay.providers.inline import FormField, JsonField, Source
from relay.providers.inline.filled import Filled, HashOfSecret, hash_of, with_secret, written
from relay.providers.inline.message import Message
from relay.providers.inline.placeholders import (
    NAMED,
    OF_FORM,
    OF_JSON,
    PLAIN,
    WHOLE_BODY,
    Filler,
    filler,
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HASH = re.compile(r"(md5|sha1|sha256|sha384|sha512)_(hex|base64):(.*)", re.DOTALL)
#: Hashes of hashes: senders go no deeper than two.
_MAX_DEPTH: Final = 4
#: Placeholders with something behind a colon, as the configuration has them.
_EXAMPLES = (
    *("header:NAME", "json:/path", "form:NAME", "query:NAME", "body_without:/path", "date"),
    *("sha256_hex:body", "sha256_base64:body", "sha256_hex:minified_body", "md5_hex:json:/path"),
)


@dataclass(frozen=True, slots=True)
class Literal:
    """Constant text."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One of `placeholders.PLAIN`, or one of `placeholders.NAMED` with what it names.

    name: of a pointer without its first slash.
    """

    kind: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Hashed:
    """The hash of a text, written in hexadecimal or Base64."""

    algorithm: str
    encoding: str
    template: "Template"


Part = Literal | Placeholder | Hashed


class Template:
    """A parsed template.

    Raises:
        ValueError: it holds an unknown placeholder or a brace that belongs to none.
    """

    def __init__(self, text: str, own: Source | None = None, *, depth: int = 0) -> None:
        """Parse it. own: where the signature stands, which some placeholders leave out."""
        if depth > _MAX_DEPTH:
            raise ValueError("hashes of hashes go no deeper here")
        parts = [_part(piece, own, depth) for piece in _pieces(text) if piece[1] or piece[0]]
        self.parts: Final[tuple[Part, ...]] = tuple(parts)
        self._fillers = tuple(_filler(part, own) for part in parts)
        #: What is hashed in it, at any depth.
        self.hashed: Final = tuple(_hashed(parts))
        inner = (part for each in self.hashed for part in each.parts)
        placeholders = [part for part in (*parts, *inner) if isinstance(part, Placeholder)]
        self._kinds = frozenset(part.kind for part in placeholders)
        #: Whether all of the body is in it, as it is, minified, sorted or hashed.
        self.covers_body: Final = not self._kinds.isdisjoint(WHOLE_BODY)
        #: The names of the header fields in it, and of the parameters of the query.
        self.headers: Final = _names(placeholders, "header")
        self.parameters: Final = _names(placeholders, "query")
        #: The fields of a body of JSON in it: their pointers without the first slash.
        self.fields: Final = _names(placeholders, "json")
        #: The fields of a form in it.
        self.form_fields: Final = _names(placeholders, "form")
        #: The members that are left out of the body, as `fields` are written.
        self.left_out: Final = _names(placeholders, "body_without")

    def holds(self, kind: str) -> bool:
        """Tell whether a placeholder of this kind is in it."""
        return kind in self._kinds

    @property
    def covered(self) -> tuple[JsonField | FormField, ...]:
        """The fields of the body in it."""
        return (
            *(JsonField(f"/{name}") for name in self.fields),
            *(FormField(name) for name in self.form_fields),
        )

    @property
    def reads_json(self) -> bool:
        """Whether the body has to be JSON."""
        return not self._kinds.isdisjoint(OF_JSON)

    @property
    def reads_form(self) -> bool:
        """Whether the body has to be a form."""
        return not self._kinds.isdisjoint(OF_FORM)

    @property
    def signs_query(self) -> bool:
        """Whether the query that arrives may be in it."""
        return self.holds("path_query") or self.holds("query")

    def fill(self, message: Message, timestamp: str) -> tuple[Filled, ...]:
        """Return the value of each part in this message; None for the secret.

        Raises:
            Refusal: a header field or the body is not as it has to be.
        """
        return tuple([fill(message, timestamp) for fill in self._fillers])

    def says_something(
        self, message: Message, apart_from: Collection[JsonField | FormField] = ()
    ) -> bool:
        """Tell whether a covered field, other than these, is not empty in this message.

        Raises:
            Refusal: as `fill` does.
        """
        return any(
            message.field(Pointer(each.pointer))
            if isinstance(each, JsonField)
            else message.form_field(each.name)
            for each in self.covered
            if each not in apart_from
        )


def _names(parts: list[Placeholder], kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.name for part in parts if part.kind == kind))


def _hashed(parts: list[Part]) -> Iterator[Template]:
    for part in parts:
        if isinstance(part, Hashed):
            yield part.template
            yield from part.template.hashed


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the pieces of a template in order: whether each is a placeholder, and its text."""
    start = depth = 0
    for at, mark in enumerate(text):
        if mark == "{":
            if not depth:
                yield False, text[start:at]
                start = at + 1
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth < 0:
                break
            if not depth:
                yield True, text[start:at]
                start = at + 1
    if depth:
        raise ValueError('a brace stands alone; placeholders look like "{body}"')
    yield False, text[start:]


def _part(piece: tuple[bool, str], own: Source | None, depth: int) -> Part:
    is_placeholder, text = piece
    if not is_placeholder:
        return Literal(text.encode())
    if found := _HASH.fullmatch(text):
        algorithm, encoding, inner = found.groups()
        if "{" not in inner:
            inner = f"{{{inner}}}"
        return Hashed(algorithm, encoding, Template(inner, own, depth=depth + 1))
    return _placeholder(text)


def _placeholder(text: str) -> Placeholder:
    if text in PLAIN:
        return Placeholder(text)
    if text == "date":
        return Placeholder("header", "Date")
    kind, _, name = text.partition(":")
    if kind in NAMED and name and "{" not in name:
        if kind in {"json", "body_without"}:
            return Placeholder(kind, Pointer(name).name)
        if kind != "header" or _TOKEN.fullmatch(name):
            return Placeholder(kind, name)
    known = ", ".join(f"{{{name}}}" for name in (*PLAIN, *_EXAMPLES))
    raise ValueError(f"there is no such placeholder; there are: {known}")


def _filler(part: Part, own: Source | None) -> Filler:
    """Return the function that gives a part its value in a message with this signed time."""
    if isinstance(part, Literal):
        text = part.text
        return lambda *_: text
    if isinstance(part, Placeholder):
        return filler(part.kind, part.name, own)
    return _hash_filler(part)


def _hash_filler(part: Hashed) -> Filler:
    algorithm, encoding, template = part.algorithm, part.encoding, part.template
    if algorithm == "sha256" and template.parts == (Placeholder("body"),):
        return lambda message, _: written(message.body_digest, encoding)
    if template.holds("secret"):
        return lambda *given: HashOfSecret(algorithm, encoding, template.fill(*given))
    return lambda *given: hash_of(algorithm, encoding, with_secret(template.fill(*given), b""))
