"""The mistakes of a description: where each stands, and what to write instead."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from relay.core.request import MAX_REFERENCE
from relay.providers import RequiredField
from relay.providers.inline import (
    NOWHERE,
    Description,
    Field,
    FormField,
    HeaderField,
    HeaderFields,
    JsonField,
    JwtRule,
    Scheme,
    SignatureRule,
    Source,
    challenge_problems,
    forwarded_fields,
    fresh_values,
    replays,
)
from relay.providers.inline.coverage import coverage_problems, time_problems
from relay.providers.inline.formats import Format
from relay.providers.inline.message import has_stars
from relay.providers.inline.signed_text import Template
from relay.providers.required_fields import unsigned

KeyPath = tuple[str | int, ...]


_OWN_PROOF: Final = "is the token itself, which is shown nowhere; leave it out"


def problems(description: Description) -> Iterator[tuple[KeyPath, str]]:
    """Yield each mistake: the path of its key, and what to write instead."""
    rule = description.signature
    for key, message in _signature_problems(rule):
        yield ("signature", key), message
    if set(description.methods) == {"HEAD"}:
        message = "a HEAD holds no event; name the method of its events too, such as POST"
        yield ("methods",), message
    yield from _unnamed(description)
    for at, field in enumerate(description.references):
        if isinstance(field, JsonField) and len(field.pointer.encode()) > MAX_REFERENCE:
            longer = f"is longer than {MAX_REFERENCE} bytes; name another field"
            yield ("references", at), longer
    for at, message in forwarded_fields.problems(description):
        yield ("forward", at), message
    yield from fresh_values.problems(description.sample)
    yield from challenge_problems.problems(description)
    with suppress(ValueError):
        for key, message in replays.problems(description):
            yield (key,), message
        covered = covered_fields(rule)
        if covered is not None:
            for at, message in unsigned(description.must, covered):
                yield ("must", at), message


def _star_problems(rule: SignatureRule, template: Template) -> Iterator[tuple[str, str]]:
    """Yield each pointer whose stars stand for elements of another list than the signature's."""
    own = _starred(rule.source.pointer) if isinstance(rule.source, JsonField) else ""
    time = rule.time.source if rule.time is not None else None
    pointers = [("signed", f"/{name}") for name in template.fields]
    if isinstance(time, JsonField):
        pointers.append(("timestamp", time.pointer))
    for key, pointer in pointers:
        if (found := _starred(pointer)) and found != own:
            yield (
                key,
                f"a * in {pointer} needs a signature in each element: from: {{json: {found}/…}}",
            )


def _starred(pointer: str) -> str:
    """Return a pointer up to its last star; empty without one."""
    steps = pointer.split("/")
    last = max((at for at, step in enumerate(steps) if step == "*"), default=-1)
    return "/".join(steps[: last + 1])


def _unnamed(description: Description) -> Iterator[tuple[KeyPath, str]]:
    """Yield each name of an event that is shown nowhere, or stands for many values."""
    rule = description.signature
    for at, required in enumerate(description.must):
        if names_token(rule, required):
            yield ("must", at), _OWN_PROOF
    for key in ("event_key", "references"):
        for field in getattr(description, key):
            if rule.is_token and _holds_token(rule.source, field):
                yield (key,), _OWN_PROOF
            if has_stars(field):
                yield (key,), "names one value, and a * stands for many; name it by its number"


def covered_fields(rule: SignatureRule) -> tuple[str, ...] | None:
    """Return the only fields of the body that are signed; None if all of it is, or no text is.

    Raises:
        ValueError: what is signed is no template.
    """
    if not rule.signs_text:
        return None
    template = Template(rule.signed)
    return None if template.covers_body else template.fields


def header_names(source: Source) -> tuple[str, ...]:
    """Return the names of the header fields that a signature may stand in."""
    match source:
        case HeaderField(name):
            return (name,)
        case HeaderFields(names):
            return names
        case _:
            return ()


def names_token(rule: SignatureRule, required: RequiredField) -> bool:
    """Return whether a field that must have a value is the token, which is masked by then."""
    return rule.is_token and _holds_token(rule.source, JsonField(required.pointer))


def _holds_token(source: Source, field: Field) -> bool:
    """Return whether a field holds the token of this source, or a value that it is in."""
    match field:
        case HeaderField(name):
            return name.lower() in {each.lower() for each in header_names(source)}
        case JsonField(pointer) if isinstance(source, JsonField):
            token, named = source.pointer.split("/"), pointer.split("/")
            return len(named) <= len(token) and all(map(_may_be_one, token, named))
        case _:
            return field == source


def _may_be_one(step: str, other: str) -> bool:
    """Return whether two steps of pointers may lead to the same value."""
    return (
        step == other or (step == "*" and other.isdecimal()) or (other == "*" and step.isdecimal())
    )


def _signature_problems(rule: SignatureRule) -> Iterator[tuple[str, str]]:
    template, form = None, None
    try:
        form = Format(rule.format)
    except ValueError as error:
        yield "format", str(error)
    try:
        template = Template(rule.signed)
    except ValueError as error:
        yield "signed", str(error)
    yield from _source_problems(rule, form)
    if rule.scheme != "jwt" and rule.jwt is not None:
        yield from _jwt_keys(rule.jwt, f"scheme: {rule.scheme}")
    if rule.scheme == "none":
        yield from _none_problems(rule)
    elif rule.scheme == "jwt":
        yield from _jwt_problems(rule, form)
    elif rule.is_token:
        yield from _token_problems(rule, form)
    else:
        yield from _key_problems(rule)
        if template is not None:
            yield from coverage_problems(rule, template)
            yield from _star_problems(rule, template)
            if form is not None:
                yield from time_problems(rule, template, form)


#: Header fields of every delivery that reach an upstream (`relay.ingest`).
_ALWAYS_FORWARDED = ("content-type", "user-agent", "accept")


#: Header fields that say something else, and of which a value may be remembered for a while
#: (`relay.edge.fast_lane`): what clients, proxies and the protocol itself send, and names.
_GENERAL: Final = re.compile(
    "accept-.*|cache-control|channel-id|connection|content-.*|host|pragma|via|x-forwarded-.*"
    "|x-partner-id|x-real-ip"
)


def _token_field(name: str) -> Iterator[tuple[str, str]]:
    if name in _ALWAYS_FORWARDED:
        yield "from", "this header field is forwarded; a token must be in one of its own"
    elif _GENERAL.fullmatch(name):
        yield "from", "this header field has another meaning; a token must be in one of its own"


def _token_source(rule: SignatureRule) -> Iterator[tuple[str, str]]:
    for name in header_names(rule.source):
        yield from _token_field(name.lower())


def _token_problems(rule: SignatureRule, form: Format | None) -> Iterator[tuple[str, str]]:
    yield from _token_source(rule)
    if rule.scheme == "basic":
        yield from _needless(rule, "basic", SignatureRule("basic", rule.source))
        return
    if rule.signed != "{body}":
        yield "signed", "a token signs nothing; leave the key out"
    if rule.time is not None:
        yield "timestamp", "a token signs no time; leave the key out"
    if form is not None and form.holds_time:
        yield "format", "a token signs no time; leave {timestamp} out"


#: The keys of what `_needless` compares.
_KEYS: Final = {
    "source": "from",
    "algorithm": "algorithm",
    "key_encoding": "secret_encoding",
    "strip_prefix": "strip_prefix",
    "format": "format",
    "encoding": "encoding",
    "signed": "signed",
    "time": "timestamp",
}


def _source_problems(rule: SignatureRule, form: Format | None) -> Iterator[tuple[str, str]]:
    if rule.source == NOWHERE and rule.scheme != "none":
        yield "from", "this key is needed, such as {header: NAME}: where the signature stands"
    if rule.scheme == "jwt":
        return
    several = isinstance(rule.source, HeaderFields) and rule.source != NOWHERE
    if several and form is not None and form.holds_time:
        yield "format", "of several header fields each would have a time; have it in one of its own"


def _jwt_problems(rule: SignatureRule, form: Format | None) -> Iterator[tuple[str, str]]:
    usual = replace(rule, algorithm="sha256", encoding="hex", signed="{body}", time=None)
    yield from _needless(rule, "jwt", usual)
    if form is not None and form.holds_time:
        yield "format", "a token holds its times itself; leave {timestamp} out"
    if rule.jwt is None or not rule.jwt.algorithms:
        yield "algorithms", "this key is needed, such as [HS256]: a token does not choose its own"
    elif rule.jwt.detached:
        yield from _jwt_keys(replace(rule.jwt, algorithms=()), "a signature that holds no claims")
    if rule.is_token:
        yield from _token_source(rule)
    elif isinstance(rule.source, JsonField | FormField):
        yield "from", "a signature inside the body cannot cover all of it; it must stand elsewhere"


def _jwt_keys(rule: JwtRule, beside: str) -> Iterator[tuple[str, str]]:
    """Yield each key of a token that is written, beside what knows none."""
    for key, written in (
        ("algorithms", bool(rule.algorithms)),
        ("audience", rule.audience is not None),
        ("issuer", rule.issuer is not None),
        ("exp", not rule.expires),
        ("claims", rule.body_sha256 is not None),
    ):
        if written:
            yield key, f"has no meaning with {beside}; leave the key out"


def _none_problems(rule: SignatureRule) -> Iterator[tuple[str, str]]:
    if rule.source != NOWHERE:
        yield "from", "has no meaning with scheme: none; leave the key out"
    yield from _needless(rule, "none", SignatureRule("none", rule.source))


def _needless(
    rule: SignatureRule, scheme: Scheme, usual: SignatureRule
) -> Iterator[tuple[str, str]]:
    """Yield each key that differs from what it is when it is left out."""
    for attribute, key in _KEYS.items():
        if getattr(rule, attribute) != getattr(usual, attribute):
            yield key, f"has no meaning with scheme: {scheme}; leave the key out"


def _key_problems(rule: SignatureRule) -> Iterator[tuple[str, str]]:
    if rule.scheme in {"rsa", "ecdsa"} and rule.algorithm in {"md5", "sha1"}:
        message = "is no hash to take a public key's signature with; write sha256, sha384 or sha512"
        yield "algorithm", message
    if rule.scheme in {"rsa", "ecdsa"} and rule.key_encoding == "hex":
        yield (
            "secret_encoding",
            f"{rule.scheme.upper()} keys are given in PEM or Base64; leave the key out",
        )
    if rule.scheme == "ed25519" and rule.algorithm != "sha256":
        yield "algorithm", "Ed25519 takes no algorithm; leave the key out"
