"""Answers to challenges: templates over the values of a request, filled and bounded. Pure.

What is answered may have been chosen by a stranger. So it is short and text, it is served as text
or as JSON and never as anything that a browser would run, and no header field of it holds a line
break.
"""

import hmac
import json
import re
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from relay.core.conditions import Message
from relay.core.errors import Reason, Refusal
from relay.core.json_pointer import Pointer
from relay.core.request import Ack
from relay.core.secret import Secret
from relay.providers.inline.challenge_rules import AnswerRule, JsonTemplate

#: Bytes of an answer, its header fields included. Challenges are some hundred at most.
MAX_ANSWER: Final = 4096

#: Browsers take the answer for what it says it is.
_NO_SNIFF: Final = ("X-Content-Type-Options", "nosniff")

_PLACEHOLDER: Final = re.compile(
    r"\{hmac_(md5|sha1|sha256|sha384|sha512)_(hex|base64|base64url):((?:[^{}]|\{[^{}]*\})*)\}"
    r"|\{([^{}]*)\}"
)
_KINDS: Final = ("json:/path", "query:NAME", "header:NAME", "form:NAME")
_KNOWN: Final = ", ".join((*(f"{{{each}}}" for each in _KINDS), "{hmac_sha256_hex:{json:/path}}"))
_FIELD_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the request. kind: `json`, `query`, `header` or `form`."""

    kind: str
    name: str
    pointer: Pointer | None = None

    def __str__(self) -> str:
        return f"{{{self.kind}:{self.name}}}"

    def read(self, message: Message) -> str:
        """Return the value.

        Raises:
            Refusal: FIELD_INVALID where there is none, or none of text.
        """
        if self.pointer is not None:
            found = message.json(self.pointer)
        elif self.kind == "header":
            found = message.header(self.name.lower())
        elif self.kind == "query":
            found = message.parameter(self.name)
        else:
            found = message.form_field(self.name)
        if not found:
            raise Refusal(Reason.FIELD_INVALID, f"{self} of the answer is not there")
        if self.kind != "header":
            return found
        try:
            return found.encode("latin-1").decode()
        except UnicodeDecodeError:
            raise Refusal(Reason.FIELD_INVALID, f"{self} of the answer is no text") from None


@dataclass(frozen=True, slots=True)
class Signed:
    """The HMAC of a text."""

    algorithm: str
    encoding: str
    parts: tuple["str | Value", ...]


class AnswerTemplate:
    """A parsed template.

    Raises:
        ValueError: it holds an unknown placeholder, or a brace that belongs to none.
    """

    def __init__(self, text: str) -> None:
        self.parts: Final = tuple(_parts(text))

    @property
    def signs(self) -> bool:
        """Whether an HMAC is in it."""
        return any(isinstance(part, Signed) for part in self.parts)

    def values(self) -> Iterator[Value]:
        """Yield the values of the request that are in it."""
        for part in self.parts:
            for each in part.parts if isinstance(part, Signed) else (part,):
                if isinstance(each, Value):
                    yield each

    def fill(self, message: Message, key: Secret | None) -> str:
        """Return the text. key: of each HMAC in it.

        Raises:
            Refusal: FIELD_INVALID where a value of the request is not there, or is no text.
        """
        return "".join([_filled(part, message, key) for part in self.parts])


class Answer:
    """A parsed answer.

    Raises:
        ValueError: as `AnswerTemplate`.
    """

    def __init__(self, rule: AnswerRule) -> None:
        self._text = None if rule.text is None else AnswerTemplate(rule.text)
        self._json = _parsed(rule.json)
        self._headers = [(name, AnswerTemplate(text)) for name, text in rule.headers]

    def render(self, message: Message, key: Secret | None) -> Ack:
        """Return the answer to a request. key: of each HMAC in it.

        Raises:
            Refusal: FIELD_INVALID where it would be too long or no text, or a value is not there.
        """
        headers = tuple(
            (name, _header_value(name, template.fill(message, key)))
            for name, template in self._headers
        )
        if self._text is not None:
            content_type = "text/plain; charset=utf-8"
            text = _checked_text(self._text.fill(message, key))
        else:
            content_type = "application/json"
            filled = _filled_json(self._json, message, key)
            text = json.dumps(filled, ensure_ascii=False, separators=(",", ":"))
        try:
            body = text.encode()
        except UnicodeEncodeError:
            raise Refusal(Reason.FIELD_INVALID, "the answer would be no text") from None
        if len(body) + sum(len(value) for _, value in headers) > MAX_ANSWER:
            raise Refusal(Reason.FIELD_INVALID, f"the answer is longer than {MAX_ANSWER} bytes")
        return Ack(200, body, content_type, (*headers, _NO_SNIFF))


def templates(rule: AnswerRule) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every template of an answer, and its place in it."""
    if rule.text is not None:
        yield ("text",), rule.text
    yield from _templates_of(rule.json, ("json",))
    for name, text in rule.headers:
        yield ("headers", name), text


def _templates_of(
    json: JsonTemplate, place: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(json, str):
        yield place, json
    elif isinstance(json, Mapping):
        for name, each in json.items():
            yield from _templates_of(each, (*place, name))
    elif isinstance(json, tuple):
        for at, each in enumerate(json):
            yield from _templates_of(each, (*place, at))


# ---- parsing --------------------------------------------------------------------------------


def _parts(text: str) -> Iterator[str | Value | Signed]:
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        yield from _literal(text[end : match.start()])
        end = match.end()
        algorithm, encoding, inner, plain = match.groups()
        if algorithm is None:
            yield _value(plain)
        else:
            parts = tuple(_parts(inner))
            signed = tuple(part for part in parts if not isinstance(part, Signed))
            if not any(isinstance(part, Value) for part in signed):
                raise ValueError("signs nothing of the request; write {hmac_sha256_hex:{json:/a}}")
            yield Signed(algorithm, encoding, signed)
    yield from _literal(text[end:])


def _literal(text: str) -> Iterator[str]:
    if "{" in text or "}" in text:
        raise ValueError(
            'a brace stands alone; placeholders look like "{json:/challenge}", and an answer of'
            " JSON is written as json: {challenge: …}"
        )
    if text:
        yield text


def _value(text: str) -> Value:
    kind, _, name = text.partition(":")
    if kind in {"query", "header", "form"} and name:
        return Value(kind, name)
    if kind == "json" and name:
        return Value(kind, name, Pointer(name))
    raise ValueError(f"there is no such placeholder; there are: {_KNOWN}")


_ParsedJson = AnswerTemplate | int | bool | None | list["_ParsedJson"] | dict[str, "_ParsedJson"]


def _parsed(json: JsonTemplate) -> _ParsedJson:
    if isinstance(json, str):
        return AnswerTemplate(json)
    if isinstance(json, Mapping):
        return {name: _parsed(each) for name, each in json.items()}
    if isinstance(json, tuple):
        return [_parsed(each) for each in json]
    return json


# ---- filling --------------------------------------------------------------------------------


def _filled(part: str | Value | Signed, message: Message, key: Secret | None) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Value):
        return part.read(message)
    text = "".join([_filled(each, message, key) for each in part.parts])
    if key is None:
        raise Refusal(Reason.SIGNATURE_MISMATCH, "there is no secret to sign the answer with")
    try:
        digest = hmac.digest(key.reveal(), text.encode(), part.algorithm)
    except UnicodeEncodeError:
        raise Refusal(Reason.FIELD_INVALID, "what the answer signs is no text") from None
    return _written(digest, part.encoding)


def _written(digest: bytes, encoding: str) -> str:
    if encoding == "hex":
        return digest.hex()
    if encoding == "base64":
        return b64encode(digest).decode("ascii")
    return urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def _filled_json(parsed: _ParsedJson, message: Message, key: Secret | None) -> object:
    if isinstance(parsed, AnswerTemplate):
        return parsed.fill(message, key)
    if isinstance(parsed, dict):
        return {name: _filled_json(each, message, key) for name, each in parsed.items()}
    if isinstance(parsed, list):
        return [_filled_json(each, message, key) for each in parsed]
    return parsed


def _checked_text(text: str) -> str:
    """Return the text; raise FIELD_INVALID where it holds a control character."""
    if any(unicodedata.category(each) == "Cc" and each not in "\t\r\n" for each in text):
        raise Refusal(Reason.FIELD_INVALID, "the answer would hold a control character")
    return text


def _header_value(name: str, text: str) -> str:
    """Return the text; raise FIELD_INVALID where a header field cannot carry it."""
    if not _FIELD_VALUE.fullmatch(text):
        raise Refusal(Reason.FIELD_INVALID, f"{name} of the answer would be no line of text")
    return text
