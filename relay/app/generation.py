"""Live configurations: the parts built from one configuration, and the pools that outlive it.

Requests and attempts in flight finish with the parts that they started with. Parts that the next
configuration describes equally are reused, with their state: upstream connections, known addresses
of hosts, and rate limits on DNS and status APIs.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from netaddr import IPNetwork

from relay.admin.upstream_rows import certificate_ends
from relay.allowlist import Allowlist, ProvenAddresses
from relay.allowlist.registry import HostRegistry, Knock
from relay.app import builder, upstream_tls
from relay.app.upstream_parts import (
    credentials_of,
    http_sender,
    oauth2_of,
    secrets_in_url,
    token_source,
)
from relay.app.upstream_tls import (
    ClientTls,
    Contexts,
    TlsKey,
    token_server_files,
    upstream_files,
)
from relay.app.usage_pool import Close, Usage, UsagePool, nothing
from relay.config import Endpoint as EndpointSettings
from relay.config import Settings
from relay.config.settings import Confirm
from relay.config.upstream_settings import OAuth2Client
from relay.config.upstream_settings import Upstream as UpstreamSettings
from relay.core.clock import Clock
from relay.core.concurrency import run_in_daemon_thread
from relay.core.ids import event_ids
from relay.core.rate_limit import FairRateLimiter, Rate, TokenBucket
from relay.core.secret import Secret
from relay.core.strict_json import JsonLimits
from relay.delivery.attempt import Upstream
from relay.delivery.confirmation import MAX_CONFIRMATION, StatusConfirmer, StatusTarget
from relay.delivery.proxy import ProxiedHistory, ProxyForwarder, ProxyUpstream
from relay.delivery.retry import RetryPolicy
from relay.delivery.tokens import TokenSource
from relay.ingest.admission import Endpoint
from relay.ingest.client_address import Clients
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.pipeline import Ingest, OnRefused
from relay.ingest.unknown_senders import UnknownSenders
from relay.providers.snap.access_tokens import AccessTokens
from relay.spool import Spool, SpoolBroken
from relay.telemetry import Telemetry

# ---- what parts are made from ---------------------------------------------------------------
# A part is made anew when its key changes. Limiters have keys of their own, without the secrets:
# reading a configuration again lets nobody ask an API more often.

_KnockKey = tuple[tuple[str, ...], timedelta]
_EndpointKey = tuple[EndpointSettings, JsonLimits, Knock | None]
_TokensKey = tuple[OAuth2Client, timedelta, tuple[IPNetwork, ...], ssl.SSLContext | None]
_UpstreamKey = tuple[
    UpstreamSettings,
    ssl.SSLContext | None,
    timedelta,
    StatusConfirmer,
    TokenSource | None,
    TokenBucket | None,
]
_ProxyUpstreamKey = tuple[UpstreamSettings, ssl.SSLContext | None, TokenSource | None]

# Provider, environment and URL tell which API it is.
_ApiKey = tuple[object, str | None, str | None]
_LimiterKey = tuple[_ApiKey, int]
_ConfirmerKey = frozenset[tuple[str, StatusTarget]]

# There is one confirmer for all upstreams.
_ONLY: Final = ""


@dataclass(frozen=True, slots=True)
class _TargetKey:
    api: _ApiKey
    secrets: tuple[Secret, ...]
    strict: bool
    wait: timedelta
    key: Secret | None
    limiter: FairRateLimiter
    endpoint: EndpointSettings = field(compare=False)


def _api_key(endpoint: EndpointSettings, confirm: Confirm) -> _ApiKey:
    return endpoint.provider, endpoint.environment, confirm.url


# ---- live configurations --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """One configuration and the parts that serve it.

    endpoints: in the order of `settings.endpoints`. hosts: names that may send to any of them.
    listed: the addresses that some endpoint lists.
    upstreams: what the dispatcher serves. usage: what it uses of the pools.
    client_certificates: end of validity of those that are shown, by upstream.
    """

    settings: Settings
    paths: EndpointPaths[Endpoint]
    ingest: Ingest
    endpoints: Sequence[Endpoint]
    hosts: frozenset[str]
    listed: Allowlist
    upstreams: Sequence[Upstream]
    usage: Usage
    client_certificates: Mapping[str, datetime]

    def new_since(self, before: "LiveConfig") -> list[EndpointSettings]:
        """Return the settings of endpoints whose name or provider is not in the one before."""
        known = {(each.name, each.provider) for each in before.endpoints}
        return [
            settings
            for settings, each in zip(self.settings.endpoints, self.endpoints, strict=True)
            if (each.name, each.provider) not in known
        ]


class LiveConfigBuilder:
    """Builds live configurations from pools that outlive them. `active` is the one in use."""

    active: LiveConfig

    def __init__(
        self,
        *,
        registry: HostRegistry,
        clients: Clients,
        spool: Spool,
        history: ProxiedHistory,
        on_refused: OnRefused,
        clock: Clock,
        telemetry: Telemetry,
        on_spool_broken: Callable[[SpoolBroken], None],
        proven: ProvenAddresses,
        unknown_senders: UnknownSenders,
        access_tokens: AccessTokens | None = None,
    ) -> None:
        self._registry = registry
        self._clients = clients
        self._spool = spool
        self._history = history
        self._on_refused = on_refused
        self._clock = clock
        self._telemetry = telemetry
        self._on_spool_broken = on_spool_broken
        self._proven = proven
        self._unknown_senders = unknown_senders
        self._access_tokens = access_tokens
        self._new_id = event_ids()
        # The endpoints in use that do not ask. All confirmers know it, so that none is made anew
        # when an endpoint comes or goes.
        self._unasked: set[str] = set()
        self._knocks = UsagePool(self._make_knock)
        self._endpoints = UsagePool(self._make_endpoint)
        self._limiters = UsagePool(_make_limiter)
        self._targets = UsagePool(self._make_target)
        self._confirmers = UsagePool(self._make_confirmer)
        self._rates = UsagePool(self._make_rate)
        self._client_tls = UsagePool(_make_client_tls)
        # Shared by an upstream's stored and proxied deliveries, and kept with its tokens.
        self._tokens = UsagePool(self._make_tokens)
        self._upstreams = UsagePool(self._make_upstream)
        # Connections of their own: neither a backlog nor a slow answer holds up the other half.
        self._proxy_upstreams = UsagePool(self._make_proxy_upstream)
        # A part is made from those of the pools before its own, and closed before them.
        self._pools: tuple[UsagePool[Any, Any], ...] = (
            self._knocks,
            self._endpoints,
            self._limiters,
            self._targets,
            self._confirmers,
            self._rates,
            self._client_tls,
            self._tokens,
            self._upstreams,
            self._proxy_upstreams,
        )

    async def build(self, settings: Settings) -> LiveConfig:
        """Return what these settings describe; it is not in use before `activate`.

        Endpoints that are equal are reused, and the event loop runs other tasks between any two:
        there may be thousands. Not called again before it has returned.

        Raises:
            Exception: it cannot be built. `retired` has what was made of it.
        """
        usage = Usage(self._pools)
        hosts: set[str] = set()
        endpoints: list[Endpoint] = []
        limits = settings.limits.json_limits
        for each in settings.endpoints:
            names = builder.expected_sources(each).hosts
            hosts.update(names)
            knock = usage.acquire(self._knocks, each.name, (names, settings.dns.knock_interval))
            endpoints.append(usage.acquire(self._endpoints, each.name, (each, limits, knock)))
            await asyncio.sleep(0)
        paths = EndpointPaths(endpoints)
        await asyncio.sleep(0)
        confirmer = self._confirmer(usage, settings.endpoints)
        asks = any(each.confirm is not None for each in settings.endpoints)
        confirm_time = MAX_CONFIRMATION if asks else timedelta()
        upstreams, proxy_upstreams = [], {}
        contexts = await upstream_tls.contexts(settings, partial(usage.acquire, self._client_tls))
        for name, its in settings.upstreams.items():
            tls = contexts.get(upstream_files(its))
            tokens = self._token_source(usage, name, its, contexts)
            bucket = self._rate(usage, name, its)
            key: _UpstreamKey = (its, tls, confirm_time, confirmer, tokens, bucket)
            upstreams.append(usage.acquire(self._upstreams, name, key))
            proxy_key: _ProxyUpstreamKey = (its, tls, tokens)
            proxy_upstreams[name] = usage.acquire(self._proxy_upstreams, name, proxy_key)
        client_certificates = await run_in_daemon_thread(
            partial(certificate_ends, settings.upstreams)
        )
        return LiveConfig(
            settings=settings,
            paths=paths,
            ingest=self._ingest(settings, paths, proxy_upstreams),
            endpoints=endpoints,
            hosts=frozenset(hosts),
            listed=Allowlist.union(each.allowlist for each in endpoints),
            upstreams=upstreams,
            usage=usage,
            client_certificates=client_certificates,
        )

    def activate(self, live_config: LiveConfig) -> None:
        """Make this configuration the live one, and the entries of all others retired."""
        self.active = live_config
        live_config.usage.activate()
        self._unasked.clear()
        self._unasked.update(
            each.name for each in live_config.settings.endpoints if each.confirm is None
        )

    def tls_in_use(self) -> list[TlsKey]:
        """Return the files of TLS to upstreams in use, and their state when they were read."""
        return self._client_tls.keys()

    def retired(self) -> Close:
        """Return a coroutine function that closes the parts retired by now, in reverse order."""
        retired = [(pool, pool.retired()) for pool in reversed(self._pools)]

        async def close() -> None:
            for pool, entries in retired:
                await pool.close(entries)

        return close

    async def close(self) -> None:
        """Close every part of every pool."""
        for pool in reversed(self._pools):
            await pool.close()

    # ---- parts ------------------------------------------------------------------------------

    def _ingest(
        self,
        settings: Settings,
        paths: EndpointPaths[Endpoint],
        proxy_upstreams: Mapping[str, ProxyUpstream],
    ) -> Ingest:
        proxy_forwarder = ProxyForwarder(
            proxy_upstreams=proxy_upstreams,
            clock=self._clock,
            observer=self._telemetry,
            note=self._history.note,
        )
        return Ingest(
            paths=paths,
            clients=self._clients,
            spool=self._spool,
            forward=proxy_forwarder.start,
            telemetry=self._telemetry,
            clock=self._clock,
            new_id=self._new_id,
            answer_within=settings.limits.answer_within,
            on_spool_broken=self._on_spool_broken,
            on_refused=self._on_refused,
            proven=self._proven,
            unknown_senders=self._unknown_senders,
        )

    def _confirmer(self, usage: Usage, endpoints: Iterable[EndpointSettings]) -> StatusConfirmer:
        """Return the confirmer of these endpoints, with a status target for each API it queries.

        A limiter stays for as long as it is the same API at the same rate, and so does what it
        counted: also where the secrets have changed.
        """
        targets = {}
        for each in endpoints:
            if each.confirm is None:
                continue
            api = _api_key(each, each.confirm)
            limiter = usage.acquire(self._limiters, each.name, (api, each.confirm.rate))
            strict = each.confirm.on_error == "hold"
            wait, asking_key = each.confirm.wait, each.confirm.key
            key = _TargetKey(api, each.secrets, strict, wait, asking_key, limiter, each)
            targets[each.name] = usage.acquire(self._targets, each.name, key)
        return usage.acquire(self._confirmers, _ONLY, frozenset(targets.items()))

    def _make_knock(self, _: str, key: _KnockKey) -> tuple[Knock | None, Close]:
        hosts, _interval = key
        knock = self._registry.knock(hosts)
        return knock, nothing if knock is None else knock.close

    def _make_endpoint(self, _: str, key: _EndpointKey) -> tuple[Endpoint, Close]:
        settings, json_limits, knock = key
        proving = builder.authenticated_knock(settings, self._registry, self._clock)
        endpoint = builder.bind_endpoint(
            settings, self._registry, json_limits, knock, proving, tokens=self._access_tokens
        )
        return endpoint, nothing if proving is None else proving.close

    def _make_target(self, _: str, key: _TargetKey) -> tuple[StatusTarget, Close]:
        stack = AsyncExitStack()
        target = StatusTarget(
            api=builder.status_client(key.endpoint, self._clock, stack),
            secrets=key.secrets,
            limiter=key.limiter,
            strict=key.strict,
            wait=key.wait,
            key=key.key,
        )
        return target, stack.aclose

    def _make_confirmer(self, _: str, key: _ConfirmerKey) -> tuple[StatusConfirmer, Close]:
        return StatusConfirmer(dict(key), self._unasked, self._clock, self._telemetry), nothing

    def _rate(self, usage: Usage, name: str, settings: UpstreamSettings) -> TokenBucket | None:
        """Return the bucket of an upstream, with what it counted while its rate is the same."""
        if settings.rate is None:
            return None
        return usage.acquire(self._rates, name, settings.rate)

    def _make_rate(self, _: str, key: Rate) -> tuple[TokenBucket, Close]:
        return key.bucket(self._clock.monotonic()), nothing

    def _token_source(
        self, usage: Usage, name: str, settings: UpstreamSettings, contexts: Contexts
    ) -> TokenSource | None:
        """Return the source of an upstream's tokens, with those it has while it is the same."""
        client = oauth2_of(settings)
        if client is None:
            return None
        tls = contexts.get(token_server_files(settings))
        key: _TokensKey = (client, settings.timeout, settings.allow_addresses, tls)
        return usage.acquire(self._tokens, name, key)

    def _make_tokens(self, name: str, key: _TokensKey) -> tuple[TokenSource, Close]:
        client, timeout, allowed, tls = key
        tokens = token_source(
            name, client, timeout, allowed, tls=tls, clock=self._clock, observer=self._telemetry
        )
        return tokens, tokens.close

    def _make_upstream(self, name: str, key: _UpstreamKey) -> tuple[Upstream, Close]:
        settings, tls, confirm_time, confirmer, tokens, bucket = key
        credentials = credentials_of(settings, tokens)
        sender = http_sender(settings, self._clock, credentials, tls)
        in_url = secrets_in_url(settings)

        def secrets() -> list[Secret]:
            # Those that this one sends with may be of a configuration before.
            own = [] if credentials is None else credentials.secrets()
            return [*self.active.settings.every_secret(), *own, *in_url]

        upstream = Upstream(
            name=name,
            sender=sender,
            timeout=confirm_time + settings.timeout,
            concurrency=settings.concurrency,
            confirmer=confirmer,
            retry=_retry_policy(settings),
            order_by_key=settings.order_by_key,
            url=settings.url,
            paused=settings.paused,
            secrets=secrets,
            rate=bucket,
        )
        return upstream, sender.close

    def _make_proxy_upstream(self, _: str, key: _ProxyUpstreamKey) -> tuple[ProxyUpstream, Close]:
        settings, tls, tokens = key
        sender = http_sender(settings, self._clock, credentials_of(settings, tokens), tls)
        return ProxyUpstream(sender, settings.concurrency), sender.close


def _retry_policy(settings: UpstreamSettings) -> RetryPolicy:
    return RetryPolicy(
        settings.retry.schedule,
        settings.retry.give_up_after,
        frozenset(settings.final),
        timedelta() if settings.rate is None else timedelta(seconds=1 / settings.rate.per_second),
    )


def _make_limiter(_: str, key: _LimiterKey) -> tuple[FairRateLimiter, Close]:
    _api, rate = key
    return FairRateLimiter(rate), nothing


def _make_client_tls(_: str, key: TlsKey) -> tuple[ClientTls, Close]:
    files, _stamps = key
    return ClientTls(files), nothing
