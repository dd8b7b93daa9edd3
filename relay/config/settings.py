"""The pydantic models of a configuration file: every key. Attribute names are the keys.

Every required key has an example: for messages, for the JSON Schema, and as the placeholder of a
missing value while the rest of the file is checked.
"""

from pathlib import Path
from typing import Annotated, Literal

from netaddr import IPNetwork
from pydantic import Discriminator, Field, PrivateAttr, Strict, Tag

from relay.allowlist import Mode
from relay.config.inline_provider import InlineProvider, Must
from relay.config.listener_settings import Admin, Limits, Listener
from relay.config.routes import Routes, SomeUpstreams, UpstreamName
from relay.config.snap_sender import AccessTokens, SnapSender
from relay.config.types import (
    ApiUrl,
    Bind,
    Duration,
    DurationOrZero,
    FilePath,
    JsonPointer,
    Label,
    Member,
    NameserverText,
    Network,
    Pattern,
    PublicPath,
    PublicUrl,
    SecretText,
    Section,
    default,
)
from relay.config.upstream_settings import Upstream
from relay.config.yaml_document import Location, SourceMap
from relay.core.redaction import Redaction, Redactions
from relay.core.request import ForwardedHeader, Keep
from relay.core.secret import Secret

# ---- one endpoint ---------------------------------------------------------------------------


class Allowlist(Section):
    """Which addresses may send."""

    mode: Annotated[Mode, Strict(strict=False)] = default(
        "enforce", description="enforce: refuse others. report: only count them. off: anybody."
    )
    add: tuple[Member, ...] = default(
        (), description="Networks and host names besides the provider's own."
    )
    replace: tuple[Member, ...] | None = default(
        None, description="Networks and host names instead of the provider's own."
    )

    @staticmethod
    def networks(members: tuple[IPNetwork | str, ...]) -> tuple[IPNetwork, ...]:
        return tuple(member for member in members if isinstance(member, IPNetwork))

    @staticmethod
    def hosts(members: tuple[IPNetwork | str, ...]) -> tuple[str, ...]:
        return tuple(member for member in members if isinstance(member, str))


class TimeWindow(Section):
    """How far a signed time may lie from now."""

    past: Duration = Field(description="How old it may be.", examples=["24h"])
    future: Duration = Field(description="How far ahead it may be.", examples=["5m"])


class Confirm(Section):
    """Ask the provider before delivery whether what was said in its name is so."""

    with_: Literal["status"] = default(
        "status", alias="with", description="How to ask: for the status of the transaction."
    )
    on_error: Literal["hold", "deliver"] = default(
        "hold",
        description="When asking leads to nothing: hold the event, or deliver it unconfirmed.",
    )
    wait: Duration = default(
        "1h",
        description="How long to ask about what is not known yet, and what may go unconfirmed.",
    )
    key: SecretText | None = default(
        None, description="The server key to ask with. Default: the secret that signed the event."
    )
    url: ApiUrl | None = default(
        None,
        description="The API to ask. Default: the one of the environment.",
        examples=["https://api.midtrans.com"],
    )
    rate: int = default(
        10, ge=1, le=1000, description="At most this many questions a second for this endpoint."
    )


def _timestamp_tag(value: object) -> str:
    return "window" if isinstance(value, dict | TimeWindow) else "off"


def _provider_tag(value: object) -> str:
    if isinstance(value, SnapSender) or (isinstance(value, dict) and "snap" in value):
        return "snap"
    return "inline" if isinstance(value, dict | InlineProvider) else "name"


Timestamp = Annotated[
    Annotated[Literal["off"], Tag("off")] | Annotated[TimeWindow, Tag("window")],
    Discriminator(_timestamp_tag),
]
ProviderChoice = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[InlineProvider, Tag("inline")]
    | Annotated[SnapSender, Tag("snap")],
    Discriminator(_provider_tag),
]


class Endpoint(Section):
    """One public path, bound to a provider and its secrets."""

    # Needed, unless `upstreams` stands in its place.
    USUAL = ("upstream",)

    name: Label = Field(description="Label in metrics, logs and history.", examples=["midtrans"])
    path: PublicPath = Field(
        description="The path that the provider posts to, or the prefix that it is given.",
        examples=["/midtrans/notification"],
    )
    provider: ProviderChoice = Field(
        description="A built-in provider, which `relay providers list` names, or a mapping that"
        " describes another one.",
        examples=["midtrans"],
    )
    environment: str = default(
        "",
        description="One of the provider's environments; needed when there are several.",
        examples=["production"],
    )
    secrets: tuple[SecretText, ...] = default(
        (),
        description="What the provider signs with; several during a rotation, any may match.",
        examples=[["${env:MIDTRANS_SERVER_KEY}"]],
    )
    upstream: UpstreamName | None = default(
        None, description="The upstream that receives the events.", examples=["billing"]
    )
    upstreams: SomeUpstreams | None = default(
        None,
        description="The upstreams that receive the events, each every one of them.",
        examples=[["billing", "ledger"]],
    )
    routes: Routes = default(
        (),
        description="Upstreams by a value of the event; the first match counts, and without one"
        " `upstream` or `upstreams`.",
        examples=[[{"when": {"json": "/type", "is": "charge"}, "upstreams": ["billing"]}]],
    )
    mode: Literal["store", "proxy"] = default(
        "store",
        description="store: keep, acknowledge, deliver. proxy: forward and answer with the"
        " upstream's answer.",
    )
    query: Literal["drop", "forward"] | None = default(
        None,
        description="What becomes of a caller's query: dropped and marked, or appended to the"
        " upstream's URL. Default: drop; below a prefix forward.",
        examples=["forward"],
    )
    keep: Annotated[Keep, Strict(strict=False)] = default(
        "all",
        description="What is kept of an event once it is delivered: all, headers (the body goes),"
        " or none (body, header fields and answers go); what is passed on is written that way.",
    )
    redact: tuple[JsonPointer, ...] = default(
        (),
        description="JSON pointers of values that are shown as *** on the page, in the terminal, by"
        " the API and in exports; the upstream gets what came. * is each element.",
        examples=[["/card/number", "/items/*/name"]],
    )
    allowlist: Allowlist = default({}, description="Which addresses may send.")
    public_url: PublicUrl | None = default(
        None,
        description="The URL that the provider signed, when another one arrives here.",
        examples=["https://pay.example.com/midtrans/notification"],
    )
    timestamp: Timestamp | None = default(
        None,
        description="How far a signed time may lie from now, or off. Default: the provider's.",
        examples=["off", {"past": "24h", "future": "5m"}],
    )
    unsigned: Literal["refuse", "accept"] = default(
        "refuse",
        description="accept: take deliveries without a signature, from enforced addresses.",
    )
    order_id_pattern: Pattern | None = default(
        None, description="midtrans: a regular expression (RE2) that whole order ids must match."
    )
    partner_id: str | None = default(
        None, min_length=1, description="BI-SNAP: what X-PARTNER-ID must be."
    )
    merchant_id: str | None = default(
        None, min_length=1, description="BI-SNAP: the merchant that messages must name."
    )
    tokens: AccessTokens | None = default(
        None, description="BI-SNAP with symmetric signatures: who may ask for access tokens."
    )
    must: tuple[Must, ...] = default(
        (),
        description="Signed fields that must have a value: whose message it is.",
        examples=[[{"json": "/msn", "in": ["123456", "654321"]}]],
    )
    callback: Literal["checkout", "express"] | None = default(
        None, description="vipps-callback: the product whose one exact path this is."
    )
    confirm: Confirm | None = default(
        None,
        description="midtrans: ask for the status of each transaction before delivery.",
    )

    @property
    def default_upstreams(self) -> tuple[str, ...]:
        """The upstreams of events that take no route."""
        if self.upstreams is not None:
            return self.upstreams
        return () if self.upstream is None else (self.upstream,)

    @property
    def every_upstream(self) -> tuple[str, ...]:
        """Every upstream that events may go to, each once."""
        routed = (name for route in self.routes for name in route.upstreams)
        return tuple(dict.fromkeys((*self.default_upstreams, *routed)))


# ---- the file -------------------------------------------------------------------------------


class SqliteSpool(Section):
    """The durable store in one local file."""

    kind: Literal["sqlite"] = default("sqlite", description="sqlite.")
    path: FilePath = default(
        "relay.db",
        description="The database file. Default: relay.db in $STATE_DIRECTORY, else in"
        " /var/lib/relay where that is writable, else beside the configuration.",
    )
    retain: Duration = default("30d", description="How long bodies of settled events are kept.")
    retain_keys: Duration = default(
        "30d", description="How long event keys are kept to know duplicates; 8d at least."
    )
    encrypt: tuple[SecretText, ...] = default(
        (),
        description="Keys that stored bodies, header fields, answers and refusals are sealed with"
        " (AES-256-GCM): 32 bytes each as Base64 or hex. The first one writes, all read.",
        examples=[["${file:secrets/spool}"]],
    )


class PostgresSpool(Section):
    """The durable store in PostgreSQL, shared by several relays. Not available in this version."""

    kind: Literal["postgres"] = Field(description="postgres.", examples=["postgres"])
    dsn: SecretText = Field(
        description="Where the database is, with user name and password.",
        examples=["${env:RELAY_DSN}"],
    )
    retain: Duration = default("30d", description="How long bodies of settled events are kept.")
    retain_keys: Duration = default(
        "30d", description="How long event keys are kept to know duplicates; 8d at least."
    )
    encrypt: tuple[SecretText, ...] = default(
        (),
        description="Keys that stored bodies, header fields, answers and refusals are sealed with"
        " (AES-256-GCM): 32 bytes each as Base64 or hex. The first one writes, all read.",
        examples=[["${file:secrets/spool}"]],
    )


class Dns(Section):
    """How host names of providers are looked up."""

    nameservers: tuple[NameserverText, ...] = default(
        (),
        description="DNS servers to ask; none: the system's. Plain, or tls://ADDRESS#NAME.",
        examples=[["192.0.2.53", "192.0.2.53:5353", "tls://192.0.2.53#dns.example.com"]],
    )
    timeout: Duration = default("2s", description="How long one look-up may take.")
    min_refresh: Duration = default("30s", description="Never look up more often than this.")
    max_refresh: Duration = default("5m", description="Never look up less often than this.")
    retain: Duration = default(
        "24h",
        description="How long an address stays that successful answers have stopped giving.",
    )
    max_stale: Duration = default(
        "72h", description="How long addresses stay while look-ups fail; then they are dropped."
    )
    knock_interval: Duration = default(
        "5s", description="At most one early look-up per endpoint in this time."
    )


def _spool_tag(value: object) -> str:
    if isinstance(value, SqliteSpool | PostgresSpool):
        return value.kind
    kind = value.get("kind", "sqlite") if isinstance(value, dict) else "sqlite"
    return kind if isinstance(kind, str) else ""


Spool = Annotated[
    Annotated[SqliteSpool, Tag("sqlite")] | Annotated[PostgresSpool, Tag("postgres")],
    Discriminator(_spool_tag),
]


class Settings(Section):
    """A whole configuration. `source` tells where each part stands in the file."""

    listen: tuple[Listener, ...] = Field(
        min_length=1, description="Public listeners.", examples=[[{"bind": "0.0.0.0:8443"}]]
    )
    trusted_proxies: tuple[Network, ...] = default(
        (),
        description="Networks whose forwarding header or PROXY header is believed.",
        examples=[["10.20.0.0/16"]],
    )
    forwarded_header: Annotated[ForwardedHeader, Strict(strict=False)] = default(
        "X-Forwarded-For", description="The one header that is read from trusted proxies."
    )
    admin: Admin = default({}, description="The private listener.")
    spool: Spool = default({}, description="Where events are kept until they are delivered.")
    state_dir: FilePath = Field(
        default_factory=lambda data: _directory_of(data.get("spool")),
        description="What is known from DNS, and other small state. Default: beside the spool.",
    )
    dns: Dns = default({}, description="How host names of providers are looked up.")
    limits: Limits = default({}, description="Bounds on what strangers may ask.")
    shutdown_grace: DurationOrZero = default(
        "10s", description="How long work in hand may go on after SIGTERM."
    )
    upstreams: dict[str, Upstream] = Field(
        min_length=1,
        description="Internal services, by name.",
        examples=[{"billing": {"url": "http://billing.internal:8080/webhooks"}}],
        json_schema_extra={"propertyNames": {"pattern": "^[A-Za-z0-9_-]{1,64}$"}},
    )
    endpoints: tuple[Endpoint, ...] = Field(
        min_length=1,
        description="Public paths.",
        examples=[
            [
                {
                    "name": "midtrans",
                    "path": "/midtrans/notification",
                    "provider": "midtrans",
                    "environment": "production",
                    "secrets": ["${env:MIDTRANS_SERVER_KEY}"],
                    "upstream": "billing",
                }
            ]
        ],
    )

    _source: SourceMap = PrivateAttr(default=SourceMap("", Path()))

    @property
    def source(self) -> SourceMap:
        return self._source

    def binds(self) -> list[tuple[Location, Bind]]:
        """Return every address that is listened on, each with its place; that of `admin` last."""
        public: list[tuple[Location, Bind]] = [
            (("listen", at, "bind"), each.bind) for at, each in enumerate(self.listen)
        ]
        return [*public, (("admin", "bind"), self.admin.bind)]

    def every_secret(self) -> list[Secret]:
        """Return every configured secret, those of upstreams and of the admin listener included."""
        found = [secret for each in self.endpoints for secret in each.secrets]
        asked = [each.tokens for each in self.endpoints if each.tokens is not None]
        found += [key for each in asked for key in each.keys]
        described = [each.provider for each in self.endpoints]
        blocks = [each for each in described if isinstance(each, InlineProvider)]
        found += [each for block in blocks for asked in block.challenge for each in asked.secrets()]
        asking = [each.confirm.key for each in self.endpoints if each.confirm is not None]
        found += [key for key in asking if key is not None]
        found += [secret for each in self.upstreams.values() for secret in each.secrets()]
        found += self.spool.encrypt
        tokens = (self.admin.token, self.admin.read_token)
        return [*found, *(token for token in tokens if token is not None)]

    def redactions(self) -> Redactions:
        """Return what of each endpoint's messages is masked where people see it."""
        return {each.name: Redaction(each.redact) for each in self.endpoints if each.redact}

    def from_source(self, source: SourceMap) -> "Settings":
        """Return the same settings with this source map."""
        settings = self.model_copy()
        settings._source = source  # noqa: SLF001 - its own kind
        return settings


def _directory_of(spool: object) -> Path:
    return spool.path.parent if isinstance(spool, SqliteSpool) else Path()
