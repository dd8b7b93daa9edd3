"""Providers described in the configuration instead of in code.

A `Description` holds the location, format and coverage of a signature; `provider` checks it and
builds a provider from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal

from relay.core.request import OnReplay
from relay.providers import Environment, RequiredField
from relay.providers.inline.challenge_rules import ChallengeRule

Scheme = Literal["hmac", "digest", "rsa", "ed25519", "ecdsa", "jwt", "token", "basic", "none"]
#: The schemes whose secrets are public keys of the sender.
PUBLIC_KEY_SCHEMES: Final = frozenset({"rsa", "ed25519", "ecdsa"})
_SIGNING_SCHEMES: Final = PUBLIC_KEY_SCHEMES | {"hmac", "digest"}
#: The schemes whose proof is the secret itself: it is stored, logged and forwarded nowhere.
TOKEN_SCHEMES: Final = frozenset({"token", "basic"})
#: The format of a JSON Web Signature without its payload.
DETACHED: Final = "{header}..{signature}"
#: The schemes whose proof stands in Authorization unless it is said otherwise.
AUTHORIZED_SCHEMES: Final = frozenset({"basic", "jwt"})
Algorithm = Literal["md5", "sha1", "sha256", "sha384", "sha512"]
KeyEncoding = Literal["text", "base64", "hex"]
Encoding = Literal["hex", "base64", "base64url"]
Unit = Literal["s", "ms", "rfc1123", "iso8601"]


@dataclass(frozen=True, slots=True)
class HeaderField:
    """Refers to a header field of the request."""

    name: str


@dataclass(frozen=True, slots=True)
class JsonField:
    """Refers to a field of the body, by its JSON pointer (RFC 6901)."""

    pointer: str


@dataclass(frozen=True, slots=True)
class QueryField:
    """Refers to a parameter of the query, by its decoded name."""

    name: str


@dataclass(frozen=True, slots=True)
class FormField:
    """Refers to a field of a form in the body, by its decoded name."""

    name: str


@dataclass(frozen=True, slots=True)
class HeaderFields:
    """Refers to any of several header fields: a signature stands in each that is there."""

    names: tuple[str, ...]


Field = HeaderField | JsonField | QueryField | FormField
#: Where a signature may stand.
Source = Field | HeaderFields
#: The source of a signature that stands nowhere.
NOWHERE: Final = HeaderFields(())


@dataclass(frozen=True, slots=True)
class TimeRule:
    """Location and unit of the signed time.

    source: None when it is part of the signature's value, as `{timestamp}` of its format.
    """

    source: Field | None
    unit: Unit


@dataclass(frozen=True, slots=True)
class JwtRule:
    """What a JSON Web Token has to say (RFC 7519).

    algorithms: those that its header may name (RFC 8725, section 3.1).
    audience, issuer: its `aud` and `iss`; None where neither is looked at.
    expires: it has to hold `exp`; one that is there is looked at in any case.
    body_sha256: the claim that holds the SHA-256 of the body; None where nothing ties the body.
    detached: it is no token but a signature of the body, which is its payload.
    """

    algorithms: tuple[str, ...]
    audience: str | None = None
    issuer: str | None = None
    expires: bool = True
    body_sha256: str | None = None
    detached: bool = False


@dataclass(frozen=True, slots=True)
class SignatureRule:
    """How messages are signed. `format` and `signed` are templates with placeholders in braces.

    jwt: for the scheme of this name alone.
    """

    scheme: Scheme
    source: Source
    algorithm: Algorithm = "sha256"
    key_encoding: KeyEncoding = "text"
    strip_prefix: str = ""
    format: str = "{signature}"
    encoding: Encoding = "hex"
    signed: str = "{body}"
    time: TimeRule | None = None
    jwt: JwtRule | None = None

    @property
    def is_token(self) -> bool:
        """Whether the proof ties no body: who has one can put any body beside it.

        It is stored, logged, shown and forwarded nowhere.
        """
        if self.scheme == "jwt" and self.jwt is not None:
            return self.jwt.body_sha256 is None and not self.jwt.detached
        return self.scheme in TOKEN_SCHEMES

    @property
    def covers_body(self) -> bool:
        """Whether a JSON Web Token or signature ties the whole body."""
        return self.scheme == "jwt" and not self.is_token

    @property
    def signs_text(self) -> bool:
        """Whether the text of `signed` is what the signature covers."""
        return self.scheme in _SIGNING_SCHEMES


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a sender, and where it was read.

    documents: URLs. reviewed: when the description was compared with them; None: never.
    traps: what its users have to mind. vector: where a published signed message is from, or why
    there is none.
    """

    title: str
    documents: tuple[str, ...] = ()
    reviewed: date | None = None
    traps: tuple[str, ...] = ()
    vector: str = ""


@dataclass(frozen=True, slots=True)
class SampleMessage:
    """A message without its signature, with placeholders of ids and times (`fresh_values`).

    json, form, text: the body; at most one is given. json: values of `relay.core.strict_json`.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    form: Mapping[str, str] | None = None
    text: str | None = None


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
    forward: header fields that reach the upstream besides those that are signed or tell apart.
    gzip: as in `ProviderInfo`.
    sample: what a sample is made from; None: of what is read alone.
    challenges: requests that are answered at once and hold no event; the first that fits is taken.
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
    forward: tuple[str, ...] = ()
    gzip: bool = False
    about: About | None = None
    sample: SampleMessage | None = None
    challenges: tuple[ChallengeRule, ...] = ()

    @property
    def every_method(self) -> tuple[str, ...]:
        """The methods of events and of challenges, each once."""
        asked = (method for each in self.challenges for method in each.methods)
        return tuple(dict.fromkeys((*self.methods, *asked)))
