"""Providers described in the configuration instead of in code.

A `Description` holds the location, format and coverage of a signature; `provider` checks it and
builds a provider from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from relay.core.request import OnReplay
from relay.providers import Environment, RequiredField

Scheme = Literal["hmac", "digest", "rsa", "ed25519", "token"]
#: The schemes whose secrets are public keys of the sender.
PUBLIC_KEY_SCHEMES: Final = frozenset({"rsa", "ed25519"})
Algorithm = Literal["sha1", "sha256", "sha512"]
KeyEncoding = Literal["text", "base64", "hex"]
Encoding = Literal["hex", "base64"]
Unit = Literal["s", "ms", "rfc1123", "iso8601"]


@dataclass(frozen=True, slots=True)
class HeaderField:
    """Refers to a header field of the request."""

    name: str


@dataclass(frozen=True, slots=True)
class JsonField:
    """Refers to a field of the body, by its JSON pointer (RFC 6901)."""

    pointer: str


Field = HeaderField | JsonField


@dataclass(frozen=True, slots=True)
class TimeRule:
    """Location and unit of the signed time.

    source: None when it is part of the signature's value, as `{timestamp}` of its format.
    """

    source: Field | None
    unit: Unit


@dataclass(frozen=True, slots=True)
class SignatureRule:
    """How messages are signed. `format` and `signed` are templates with placeholders in braces."""

    scheme: Scheme
    source: Field
    algorithm: Algorithm = "sha256"
    key_encoding: KeyEncoding = "text"
    strip_prefix: str = ""
    format: str = "{signature}"
    encoding: Encoding = "hex"
    signed: str = "{body}"
    time: TimeRule | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """A described sender.

    event_key: the header field, or the fields of the body together, that identify an event; empty
        for the SHA-256 of the body.
    single: the JSON pointer of a list that must hold exactly one entry, where the signature
        covers only the first.
    must: signed fields that must have one of some values.
    on_replay: what the same signed bytes are under another event key, where that is not signed.
    references: the ids by which people ask for an event.
    distinct: with `DUPLICATE`, header fields whose values make another event of them all the same.
    """

    name: str
    signature: SignatureRule
    environments: Mapping[str, Environment]
    methods: tuple[str, ...] = ("POST",)
    event_key: tuple[Field, ...] = ()
    single: str | None = None
    must: tuple[RequiredField, ...] = ()
    on_replay: OnReplay = OnReplay.REPEATS
    distinct: tuple[HeaderField, ...] = ()
    references: tuple[Field, ...] = ()
