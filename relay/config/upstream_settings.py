"""The keys of one upstream: where it is, how it is called, how often, and what it is shown."""

from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Field, Tag

from relay.config.secret_text import WrittenOut, looks_secret
from relay.config.types import (
    Duration,
    FilePath,
    Network,
    RateText,
    SecretText,
    Section,
    ServerName,
    TokenUrl,
    UpstreamUrl,
    default,
)
from relay.config.upstream_values import (
    AUTH_KINDS,
    BearerToken,
    ClientId,
    FinalStatus,
    HeaderText,
    Password,
    Scope,
    UserName,
    one_kind,
)
from relay.core.authorization import basic_credentials, client_credentials
from relay.core.secret import Secret

# ---- credentials ----------------------------------------------------------------------------


class BearerAuth(Section):
    """A token that does not change."""

    bearer: BearerToken = Field(
        description="Sent as `Authorization: Bearer TOKEN`.", examples=["${env:BILLING_TOKEN}"]
    )

    def secrets(self) -> tuple[Secret, ...]:
        return (self.bearer,)


class BasicCredentials(Section):
    """A user and a password."""

    user: UserName = Field(min_length=1, description="The user name.", examples=["relay"])
    password: Password = Field(description="The password.", examples=["${env:BILLING_PASSWORD}"])


class BasicAuth(Section):
    """Basic authentication (RFC 7617)."""

    basic: BasicCredentials = Field(
        description="Sent as `Authorization: Basic …`.",
        examples=[{"user": "relay", "password": "${env:BILLING_PASSWORD}"}],
    )

    def secrets(self) -> tuple[Secret, ...]:
        password = self.basic.password
        return (password, basic_credentials(self.basic.user, password))


class OAuth2Client(Section):
    """A client that fetches its tokens (RFC 6749, 4.4)."""

    token_url: TokenUrl = Field(
        repr=False,
        description="Where tokens are fetched.",
        examples=["https://login.internal/oauth2/token"],
    )
    client_id: ClientId = Field(min_length=1, description="The client's name.", examples=["relay"])
    client_secret: Password = Field(
        description="The client's secret.", examples=["${env:OAUTH_SECRET}"]
    )
    scope: Scope | None = default(
        None, min_length=1, description="What to ask for.", examples=["billing.write"]
    )


class OAuth2Auth(Section):
    """Tokens that are fetched ahead of their expiry (OAuth2 client credentials)."""

    oauth2: OAuth2Client = Field(
        description="Sent as `Authorization: Bearer TOKEN`.",
        examples=[
            {
                "token_url": "https://login.internal/oauth2/token",
                "client_id": "relay",
                "client_secret": "${env:OAUTH_SECRET}",
            }
        ],
    )

    def secrets(self) -> tuple[Secret, ...]:
        secret = self.oauth2.client_secret
        return (secret, client_credentials(self.oauth2.client_id, secret))


def _auth_tag(value: object) -> str:
    if isinstance(value, BearerAuth | BasicAuth | OAuth2Auth):
        return next(iter(type(value).model_fields))
    held = value if isinstance(value, dict) else {}
    return next((kind for kind in AUTH_KINDS if kind in held), "bearer")


Auth = Annotated[
    Annotated[BearerAuth, Tag("bearer")]
    | Annotated[BasicAuth, Tag("basic")]
    | Annotated[OAuth2Auth, Tag("oauth2")],
    Discriminator(_auth_tag),
    BeforeValidator(one_kind),
]

# ---- one upstream ---------------------------------------------------------------------------


class UpstreamTls(Section):
    """How an upstream's certificate is checked, and what relay shows of its own."""

    ca: FilePath | None = default(
        None, description="PEM file of the authorities to trust, instead of the system's."
    )
    certificate: FilePath | None = default(
        None, description="PEM file of the client certificate, with its chain."
    )
    key: FilePath | None = default(None, description="PEM file of its private key.")
    server_name: ServerName | None = default(
        None, description="The name that the certificate must hold. Default: that of the URL."
    )


class Retry(Section):
    """When an upstream that did not take an event is tried again."""

    schedule: tuple[Duration, ...] = default(
        ("5s", "30s", "2m", "10m", "30m", "1h", "3h", "6h", "12h"),
        min_length=1,
        description="Waits between attempts, each varied by a tenth; the last one repeats.",
        examples=[["5s", "30s", "2m"]],
    )
    give_up_after: Duration = default("72h", description="Then a person decides.")


class Upstream(Section):
    """An internal service that receives events."""

    url: UpstreamUrl = Field(
        repr=False,
        description="Where events are posted; a query is kept.",
        examples=["http://billing.internal:8080/webhooks"],
    )
    timeout: Duration = default("10s", description="How long one attempt may take.")
    concurrency: int = default(
        32,
        ge=1,
        le=1024,
        description="Attempts under way at a time. Deliveries that are passed on (mode: proxy) are"
        " counted apart, and as many of them may be under way besides.",
    )
    retry: Retry = default({}, description="When to try again.")
    order_by_key: bool = default(
        False, description="Deliver events of one key one after the other, in order of receipt."
    )
    paused: bool = default(
        False,
        description="Deliver nothing to it: events wait, and that counts against no deadline."
        " `relay upstreams pause` does so without a change of the file. Deliveries that are passed"
        " on (mode: proxy) are passed on all the same.",
    )
    signing_secrets: tuple[SecretText, ...] = default(
        (),
        description="Sign what is forwarded (Standard Webhooks); several during a rotation.",
        examples=[["${file:secrets/signing}"]],
    )
    headers: dict[str, HeaderText] = default(
        {},
        description="Header fields that are added to each request.",
        examples=[{"X-Api-Key": "${file:secrets/billing}"}],
    )
    auth: Auth | None = default(
        None,
        description="Credentials: bearer, basic or oauth2.",
        examples=[{"bearer": "${env:BILLING_TOKEN}"}],
    )
    tls: UpstreamTls = default({}, description="How an https URL is called.")
    rate: RateText | None = default(
        None,
        description="At most this many attempts in a second, a minute or an hour; one second's"
        " worth may go at once. Deliveries that are passed on (mode: proxy) are not counted.",
        examples=["50/s"],
    )
    final: tuple[FinalStatus, ...] = default(
        (),
        description="Statuses after which an event is dead at once; no copy revives it.",
        examples=[[400, 410, 422]],
    )
    allow_addresses: tuple[Network, ...] = default(
        (),
        description="Link-local and metadata addresses that it, or its token server, may have; all"
        " others of that kind are refused.",
        examples=[["169.254.10.0/24"]],
    )

    def secrets(self) -> tuple[Secret, ...]:
        """Return every secret that is written here, and each as it is sent."""
        own = () if self.auth is None else self.auth.secrets()
        return (*self.signing_secrets, *self.secret_headers().values(), *own)

    def secret_headers(self) -> dict[str, Secret]:
        """Return the header fields that hold secrets: from elsewhere, or what looks like one."""
        return {
            name: value
            for name, value in self.headers.items()
            if not isinstance(value, WrittenOut) or looks_secret(name, value)
        }
