"""What one upstream's settings describe: its credentials and the sender of its requests."""

import ssl
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_network

from netaddr import IPNetwork as NetAddrNetwork

from relay.config.upstream_settings import (
    BasicAuth,
    BearerAuth,
    OAuth2Auth,
    OAuth2Client,
)
from relay.config.upstream_settings import Upstream as UpstreamSettings
from relay.core.clock import Clock
from relay.core.egress import IPNetwork
from relay.core.secret import Secret
from relay.core.urls import query_values
from relay.delivery.credentials import Credentials, Tokens
from relay.delivery.http import Origin, Pool
from relay.delivery.oauth2 import MAX_ANSWER, MAX_ASKING, Client
from relay.delivery.sender import HttpSender
from relay.delivery.tokens import TokenObserver, TokenSource
from relay.signatures.shared_secret import Signer


def secrets_in_url(settings: UpstreamSettings) -> list[Secret]:
    """Return what the query of its URL holds: services tell what they were asked when they fail.

    Most of it is no secret, so that it masks what the upstream answers, and nothing else.
    """
    return [Secret(value) for value in query_values(settings.url)]


def http_sender(
    settings: UpstreamSettings,
    clock: Clock,
    credentials: Credentials | None = None,
    tls: ssl.SSLContext | None = None,
) -> HttpSender:
    """Return a sender with connections of its own. Called inside a running event loop."""
    return HttpSender(
        settings.url,
        timeout=settings.timeout,
        concurrency=settings.concurrency,
        clock=clock,
        signer=Signer(settings.signing_secrets) if settings.signing_secrets else None,
        tls=tls,
        server_name=settings.tls.server_name,
        allowed=ip_networks(settings.allow_addresses),
        credentials=credentials,
    )


def credentials_of(settings: UpstreamSettings, tokens: Tokens | None) -> Credentials | None:
    """Return the credentials of an upstream; None where it has none.

    tokens: where they come from, if its `auth` is `oauth2`.
    """
    auth = settings.auth
    if not settings.headers and auth is None:
        return None
    return Credentials(
        settings.headers,
        bearer=auth.bearer if isinstance(auth, BearerAuth) else None,
        basic=(auth.basic.user, auth.basic.password) if isinstance(auth, BasicAuth) else None,
        tokens=tokens,
        public=settings.headers.keys() - settings.secret_headers().keys(),
    )


def oauth2_of(settings: UpstreamSettings) -> OAuth2Client | None:
    """Return the client that fetches an upstream's tokens, if it has one."""
    return settings.auth.oauth2 if isinstance(settings.auth, OAuth2Auth) else None


def token_source(
    name: str,
    client: OAuth2Client,
    timeout: timedelta,
    allow_addresses: Iterable[NetAddrNetwork],
    *,
    tls: ssl.SSLContext | None,
    clock: Clock,
    observer: TokenObserver,
) -> TokenSource:
    """Return the source of an upstream's tokens. Called inside a running event loop.

    timeout, allow_addresses: those of the upstream.
    """
    pool = Pool(
        Origin.of(client.token_url),
        size=1,
        # Asked too seldom for a connection to be worth keeping.
        idle=0.0,
        longest_body=MAX_ANSWER,
        timeout=min(MAX_ASKING, timeout.total_seconds()),
        tls=tls,
        allowed=ip_networks(allow_addresses),
    )
    asking = Client(client.token_url, client.client_id, client.client_secret, client.scope)
    return TokenSource(name, asking, pool, clock=clock, observer=observer)


def ip_networks(configured: Iterable[NetAddrNetwork]) -> list[IPNetwork]:
    """Return `allow_addresses` as the client to upstreams takes them."""
    return [ip_network(str(each.cidr)) for each in configured]
