"""The keys of a provider that is described in the configuration itself."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from relay.config.about_sender import About, SampleMessage
from relay.config.challenges import Challenge
from relay.config.conditions import JsonIn, JsonIs
from relay.config.message_fields import (
    HeaderField,
    MessageField,
    MessageFields,
    SignatureField,
)
from relay.config.types import HeaderName, HostName, JsonPointer, Label, Network, Section, default
from relay.core.request import MAX_REFERENCES, OnReplay
from relay.providers import AddressList, Environment, inline

CONFIGURATION = "configuration"
#: The environment of a provider that names no networks: no address is allowed by default.
ONLY = "live"


class Networks(Section):
    """Where the messages of one environment come from."""

    cidrs: tuple[Network, ...] = default((), description="Networks.")
    hosts: tuple[HostName, ...] = default((), description="DNS host names.")

    def environment(self) -> Environment:
        networks = tuple(str(network) for network in self.cidrs)
        listings = (AddressList(CONFIGURATION, networks),) if networks else ()
        return Environment(listings, self.hosts)


def _must_tag(value: object) -> str:
    held = value if isinstance(value, dict) else {}
    return "in" if "in" in held or isinstance(value, JsonIn) else "is"


#: A signed field that must have some value.
Must = Annotated[
    Annotated[JsonIs, Tag("is")] | Annotated[JsonIn, Tag("in")], Discriminator(_must_tag)
]


class SignedTime(Section):
    """The time that the sender signed."""

    from_: MessageField | None = default(
        None,
        alias="from",
        description="Where it stands; left out where {timestamp} in format says so.",
        examples=[{"header": "X-Time"}],
    )
    unit: Literal["s", "ms", "rfc1123", "iso8601"] = Field(
        description="How it is written.", examples=["s"]
    )

    def rule(self) -> inline.TimeRule:
        source = None if self.from_ is None else self.from_.fields()[0]
        return inline.TimeRule(source, self.unit)


JwtAlgorithm = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "EdDSA",
]


class JwtClaims(Section):
    """Claims that tie a token to its message."""

    body_sha256: str = Field(
        min_length=1,
        description="The claim that holds the SHA-256 of the body, in hexadecimal or base64url.",
        examples=["request_hash"],
    )


_JWT_KEYS = frozenset({"algorithms", "audience", "issuer", "exp", "claims"})


class Signature(Section):
    """How messages are signed."""

    scheme: inline.Scheme = Field(description="The kind of signature.", examples=["hmac"])
    algorithm: inline.Algorithm = default("sha256", description="The hash.")
    secret_encoding: inline.KeyEncoding = default("text", description="How the secret is written.")
    strip_prefix: str | None = default(None, description="What to cut off the secret's beginning.")
    from_: SignatureField | None = default(
        None,
        alias="from",
        description="Where it stands. Default for basic and jwt: Authorization.",
        examples=[{"header": "X-Hub-Signature-256"}],
    )
    format: str = default("{signature}", description="What stands around it.")
    encoding: inline.Encoding = default("hex", description="How it is written.")
    signed: str = default("{body}", description="What is signed.")
    timestamp: SignedTime | None = default(None, description="The time that is signed.")
    algorithms: tuple[JwtAlgorithm, ...] = default(
        (), description="With jwt: the algorithms a token may name.", examples=[["HS256"]]
    )
    audience: str | None = default(
        None, description="With jwt: the `aud` of a token.", examples=["relay"]
    )
    issuer: str | None = default(
        None, description="With jwt: the `iss` of a token.", examples=["https://sender.example"]
    )
    exp: Literal["required", "optional"] = default(
        "required",
        description="With jwt: whether a token must say when it ends.",
        examples=["optional"],
    )
    claims: JwtClaims | None = default(
        None,
        description="With jwt: claims that tie a token to its message.",
        examples=[{"body_sha256": "request_hash"}],
    )

    def rule(self) -> inline.SignatureRule:
        source: inline.Source = inline.NOWHERE
        if self.from_ is not None:
            source = self.from_.source()
        elif self.scheme in inline.AUTHORIZED_SCHEMES:
            source = inline.HeaderField("Authorization")
        return inline.SignatureRule(
            scheme=self.scheme,
            source=source,
            algorithm=self.algorithm,
            key_encoding=self.secret_encoding,
            strip_prefix=self.strip_prefix or "",
            format="{signature}" if self._detached else self.format,
            encoding=self.encoding,
            signed=self.signed,
            time=None if self.timestamp is None else self.timestamp.rule(),
            jwt=self._jwt(),
        )

    @property
    def _detached(self) -> bool:
        return self.scheme == "jwt" and self.format == inline.DETACHED

    def _jwt(self) -> inline.JwtRule | None:
        """Return the rule of tokens; None where no key of one is written."""
        if self.scheme != "jwt" and self.model_fields_set.isdisjoint(_JWT_KEYS):
            return None
        return inline.JwtRule(
            algorithms=self.algorithms,
            audience=self.audience,
            issuer=self.issuer,
            expires=self.exp == "required",
            body_sha256=None if self.claims is None else self.claims.body_sha256,
            detached=self._detached,
        )


class InlineProvider(Section):
    """A sender that is not built in."""

    name: Label = Field(description="Its name.", examples=["github"])
    networks: dict[str, Networks] = default({}, description="Addresses, by environment.")
    methods: tuple[Literal["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD"], ...] = default(
        ("POST",), min_length=1, description="Request methods.", examples=[["POST"]]
    )
    signature: Signature = Field(
        description="How messages are signed.",
        examples=[{"scheme": "hmac", "from": {"header": "X-Hub-Signature-256"}}],
    )
    event_key: MessageFields | None = default(
        None, description="What makes an event unique. Default: the SHA-256 of its body."
    )
    repeats: Literal["mark", "duplicate"] = default(
        "mark",
        description=(
            "What the same signed bytes are under another `event_key`, where that is a header field"
            " that is not signed: an event with `Relay-Repeats`, or a duplicate."
        ),
    )
    distinct: tuple[HeaderField, ...] = default(
        (),
        description="With `repeats: duplicate`: values that make another event all the same.",
        examples=[[{"header": "X-Shop-Topic"}]],
    )
    forward: tuple[HeaderName, ...] = default(
        (),
        description="The sender's header fields that reach the upstream besides those that are"
        " signed or tell events apart.",
        examples=[["X-Shop-Topic"]],
    )
    single: JsonPointer | None = default(
        None,
        description="A list in the body that must hold exactly one entry.",
        examples=["/items"],
    )

    references: tuple[MessageField, ...] = default(
        (),
        max_length=MAX_REFERENCES,
        description="The ids by which people ask for an event: shown in lists, and searched.",
        examples=[[{"json": "/data/id"}, {"header": "X-Order-Id"}]],
    )
    must: tuple[Must, ...] = default(
        (),
        description="Signed fields that must have a value: whose message it is.",
        examples=[[{"json": "/merchantId", "is": "G123456"}]],
    )
    decode: Literal["gzip"] | None = default(
        None,
        description=(
            "The Content-Encoding that is undone: what is inside is verified, kept and delivered."
            " Bodies without one are taken, too."
        ),
        examples=["gzip"],
    )
    about: About | None = default(None, description="What is known of the sender.")
    sample: SampleMessage | None = default(
        None, description="What `relay send` signs. Default: a body with the fields that are read."
    )
    challenge: tuple[Challenge, ...] = default(
        (),
        description="Requests that the sender tries the endpoint with: answered at once, and never"
        " stored.",
        examples=[[{"when": {"json": "/challenge"}}]],
    )

    def description(self) -> inline.Description:
        """Return this as a description of `relay.providers.inline`."""
        return inline.Description(
            name=self.name,
            signature=self.signature.rule(),
            environments={name: each.environment() for name, each in self.networks.items()}
            or {ONLY: Environment()},
            methods=tuple(self.methods),
            event_key=() if self.event_key is None else self.event_key.fields(),
            single=self.single,
            must=tuple(each.rule() for each in self.must),
            on_replay=OnReplay.DUPLICATE if self.repeats == "duplicate" else OnReplay.REPEATS,
            distinct=tuple(inline.HeaderField(each.header) for each in self.distinct),
            forward=self.forward,
            references=tuple(field for each in self.references for field in each.fields()),
            gzip=self.decode == "gzip",
            about=None if self.about is None else self.about.about(),
            sample=None if self.sample is None else self.sample.message(),
            challenges=tuple(each.rule() for each in self.challenge),
        )
