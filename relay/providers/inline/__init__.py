"""Senders that are described in the configuration instead of in code.

A `Description` says where a signature stands, how it is written and what it covers; `provider`
makes of it a provider like any other, and finds what it cannot mean before anything is bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from relay.providers import Environment

Scheme = Literal["hmac", "digest", "rsa", "ed25519", "token"]
Algorithm = Literal["sha1", "sha256", "sha512"]
KeyEncoding = Literal["text", "base64", "hex"]
Encoding = Literal["hex", "base64"]
Unit = Literal["s", "ms", "rfc1123", "iso8601"]


@dataclass(frozen=True, slots=True)
class HeaderField:
    """A header field of the request."""

    name: str


@dataclass(frozen=True, slots=True)
class JsonField:
    """A field of the body, by its JSON pointer (RFC 6901)."""

    pointer: str


Field = HeaderField | JsonField


@dataclass(frozen=True, slots=True)
class TimeRule:
    """Where the signed time stands, and how it is written.

    source: None when it stands beside the signature, as `{timestamp}` of its format.
    """

    source: Field | None
    unit: Unit


@dataclass(frozen=True, slots=True)
class SignatureRule:
    """How messages are signed. `format` and `signed` are texts with placeholders in braces."""

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
    """A sender.

    event_key: the header field, or the fields of the body together, that tell events apart;
        empty for the SHA-256 of the body.
    single: the JSON pointer of a list that must hold exactly one entry, where the signature
        covers only the first.
    """

    name: str
    signature: SignatureRule
    environments: Mapping[str, Environment]
    methods: tuple[str, ...] = ("POST",)
    event_key: tuple[Field, ...] = ()
    single: str | None = None
