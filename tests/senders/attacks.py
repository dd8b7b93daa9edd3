"""What a stranger may do to a signed message of a described sender: none of it may be accepted.

What is signed is read from the text of the description (`signed`), not from the code that verifies.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from relay.core.request import Headers
from relay.core.secret import Secret
from relay.providers import Sample, SampleOrder
from relay.providers.inline import (
    Description,
    Field,
    FormField,
    HeaderField,
    HeaderFields,
    JsonField,
    QueryField,
    SampleMessage,
)
from relay.providers.inline.provider import InlineProvider

#: A placeholder that takes in all of the body, or all of a form or a JSON document.
_WHOLE: Final = re.compile(
    r"\{(?:[a-z0-9_]+:)?(?:body|minified_body|json_sorted|form_sorted|body_without:[^{}]*)\}"
)
_FIELD: Final = re.compile(r"\{(?:[a-z0-9]+_[a-z0-9]+:)?(json|form|query|header):([^{}]*)\}")
#: White space between the parts is not signed by these.
_LOOSE: Final = re.compile(r"minified_body|json_sorted|body_without")


@dataclass(frozen=True)
class Maker:
    """Makes messages of one sender, signed as it signs them."""

    description: Description
    url: str
    signing: str
    changes: Mapping[str, str]

    def made(
        self, at: datetime, signing: str | None = None, message: SampleMessage | None = None
    ) -> Sample:
        """Return a signed message. message: in the place of the sample of the description."""
        described = self.description
        if message is not None:
            described = replace(described, sample=message)
        secret = Secret(self.signing if signing is None else signing)
        order = SampleOrder(self.url, secret, at, self.changes)
        return InlineProvider(described).sample(order)


@dataclass(frozen=True)
class Attack:
    """A message that has to be refused. what: in words, for the failure."""

    what: str
    sample: Sample


def attacks(maker: Maker, at: datetime, other_key: str) -> Iterator[Attack]:
    """Yield messages that differ from a genuine one each in one thing."""
    rule = maker.description.signature
    genuine = maker.made(at)
    if rule.scheme != "none":
        yield Attack("signed with another key", maker.made(at, other_key))
        yield from _proof(rule.source, genuine)
    yield from _times(maker, at)
    signed = rule.signed if rule.signs_text else ""
    if _WHOLE.search(signed) or (rule.jwt is not None and rule.jwt.body_sha256):
        yield from _bodies(genuine, loose=_LOOSE.search(signed) is not None)
        yield from _shifted(maker.description, genuine)
    for kind, name in _FIELD.findall(signed):
        field = _named(kind, name)
        if field != rule.source and not (isinstance(field, HeaderField) and name == "Host"):
            yield from _field(field, genuine, signed=signed)


# ---- the proof itself -----------------------------------------------------------------------


def _proof(source: Any, genuine: Sample) -> Iterator[Attack]:
    field = HeaderField(source.names[0]) if isinstance(source, HeaderFields) else source
    value = read(field, genuine)
    yield Attack("no proof", without(field, genuine))
    yield Attack("an empty proof", written(field, genuine, ""))
    yield Attack("the proof twice", doubled(field, genuine, value))
    yield Attack("an empty proof behind it", doubled(field, genuine, ""))
    for position in sorted({0, len(value) // 3, len(value) // 2, 2 * len(value) // 3, -3}):
        yield Attack(f"proof, letter {position}", written(field, genuine, _turned(value, position)))
    yield Attack("half of the proof", written(field, genuine, value[: len(value) // 2]))
    yield Attack("more than the proof", written(field, genuine, value + "0a"))


def _turned(value: str, position: int) -> str:
    """Return a text with one letter exchanged for one far away, of the same kind."""
    at = position % len(value)
    letter = value[at]
    other = {"0": "8", "8": "0"}.get(letter)
    if other is None:
        for kind in ("0123456789", "abcdef", "ghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
            if letter in kind:
                other = kind[(kind.index(letter) + len(kind) // 2) % len(kind)]
    return value[:at] + (other or "x") + value[at + 1 :]


# ---- what it covers -------------------------------------------------------------------------


def _bodies(genuine: Sample, *, loose: bool) -> Iterator[Attack]:
    body = genuine.body
    positions = sorted({0, *(len(body) * part // 8 for part in range(8)), len(body) - 1})
    for at in positions if body else ():
        flipped = bytes((*body[:at], body[at] ^ 1, *body[at + 1 :]))
        yield Attack(f"body, bit of byte {at}", replace(genuine, body=flipped))
    if body:
        yield Attack("a shorter body", replace(genuine, body=body[:-1]))
        yield Attack("no body", replace(genuine, body=b""))
    if not loose:
        yield Attack("a longer body", replace(genuine, body=body + b"\n"))


def _field(field: Field, genuine: Sample, *, signed: str) -> Iterator[Attack]:
    value = read(field, genuine)
    name = f"{type(field).__name__} {field.pointer if isinstance(field, JsonField) else field.name}"
    yield Attack(f"{name}, changed", written(field, genuine, value + "1"))
    if value:
        yield Attack(f"{name}, empty", written(field, genuine, ""))
        yield Attack(f"{name}, absent", without(field, genuine))
    if not isinstance(field, JsonField):
        yield Attack(f"{name}, twice", doubled(field, genuine, value + "1"))


def _shifted(description: Description, genuine: Sample) -> Iterator[Attack]:
    """Yield the message with the beginning of its body moved into the field before it."""
    rule = description.signature
    found = re.search(r"\{(timestamp|header:[^{}]*)\}([^{}]*)\{body\}", rule.signed)
    if found is None:
        return
    field: Field | None = HeaderField(found[1].removeprefix("header:"))
    if found[1] == "timestamp":
        field = None if rule.time is None else rule.time.source
    mark = found[2].encode()
    at = genuine.body.find(mark, 1) if mark else 3
    if not isinstance(field, HeaderField) or at < 0:
        return
    moved = (mark + genuine.body[:at]).decode("latin-1")
    rest = genuine.body[at + len(mark) :]
    longer = written(field, genuine, read(field, genuine) + moved)
    yield Attack("the body's beginning moved into a header field", replace(longer, body=rest))


def _times(maker: Maker, at: datetime) -> Iterator[Attack]:
    rule = maker.description.signature
    if rule.time is not None:
        yield Attack("signed ten years ago", maker.made(at - timedelta(days=3650)))
        yield Attack("signed in ten days", maker.made(at + timedelta(days=10)))
        if rule.time.source is not None:
            early = written(rule.time.source, maker.made(at), "1000000000")
            yield Attack("another time", early)
    elif rule.jwt is not None and rule.jwt.expires:
        yield Attack("ended", maker.made(at - timedelta(days=3650)))


# ---- fields of messages ---------------------------------------------------------------------


def _named(kind: str, name: str) -> Field:
    match kind:
        case "json":
            return JsonField(name)
        case "form":
            return FormField(name)
        case "query":
            return QueryField(name)
    return HeaderField(name)


def read(field: Field, sample: Sample) -> str:
    """Return the text of a field; empty when it is not there."""
    if isinstance(field, JsonField):
        holder: Any = json.loads(sample.body)
        for step in field.pointer[1:].split("/"):
            holder = holder[_at(step)] if isinstance(holder, list) else holder.get(step, "")
        return holder if isinstance(holder, str) else json.dumps(holder)
    return next((value for name, value in _pairs(field, sample) if _is(field, name)), "")


def written(field: Field, sample: Sample, value: str) -> Sample:
    """Return the message with this field changed."""
    if isinstance(field, JsonField):
        return _json_edited(field, sample, value)
    changed = [(n, value if _is(field, n) else v) for n, v in _pairs(field, sample)]
    return _with_pairs(field, sample, changed)


def without(field: Field, sample: Sample) -> Sample:
    """Return the message without this field."""
    if isinstance(field, JsonField):
        return _json_edited(field, sample, None)
    kept = [(name, value) for name, value in _pairs(field, sample) if not _is(field, name)]
    return _with_pairs(field, sample, kept)


def doubled(field: Field, sample: Sample, value: str) -> Sample:
    """Return the message with this field a second time, with this value."""
    if isinstance(field, JsonField):
        name = field.pointer.rpartition("/")[2]
        again = f"{json.dumps(name)}:{json.dumps(value)}," if value else f"{json.dumps(name)}:null,"
        at = sample.body.index(json.dumps(name).encode() + b":")
        return replace(sample, body=sample.body[:at] + again.encode() + sample.body[at:])
    return _with_pairs(field, sample, [*_pairs(field, sample), (field.name, value)])


def _is(field: Field, name: str) -> bool:
    if isinstance(field, HeaderField):
        return name.lower() == field.name.lower()
    return not isinstance(field, JsonField) and name == field.name


def _pairs(field: Field, sample: Sample) -> list[tuple[str, str]]:
    match field:
        case HeaderField():
            return list(sample.headers)
        case QueryField():
            return parse_qsl(sample.suffix[1:], keep_blank_values=True)
    return parse_qsl(sample.body.decode(), keep_blank_values=True)


def _with_pairs(field: Field, sample: Sample, pairs: Sequence[tuple[str, str]]) -> Sample:
    match field:
        case HeaderField():
            return replace(sample, headers=Headers(tuple(pairs)))
        case QueryField():
            return replace(sample, suffix=f"?{urlencode(pairs)}")
    return replace(sample, body=urlencode(pairs).encode())


def _json_edited(field: JsonField, sample: Sample, value: str | None) -> Sample:
    """Return the message with this field changed, or removed where value is None."""
    whole: Any = json.loads(sample.body)
    *steps, last = field.pointer[1:].split("/")
    holder = whole
    for step in steps:
        holder = holder[_at(step)] if isinstance(holder, list) else holder.setdefault(step, {})
    if isinstance(holder, list):
        holder[_at(last)] = value
    elif value is None:
        holder.pop(last, None)
    else:
        holder[last] = value
    return replace(sample, body=json.dumps(whole, separators=(",", ":")).encode())


def _at(step: str) -> int:
    """Return the position in a list; a `*` stands for all, of which a sample has one."""
    return 0 if step == "*" else int(step)
