"""Settings to parts: the constructions that several modules of this package and commands share.

What only one of them needs is constructed there: `generation` builds endpoints and upstreams,
`runtime` the parts that live as long as the process, `spools` the spool. Allowlists of commands
are made of the addresses that the running relay last wrote to its state file: they ask no DNS.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from random import SystemRandom

from relay.allowlist import Allowlist, Mode, SourceObserver
from relay.allowlist.dns_cache import DnsCache
from relay.allowlist.dns_source import Policy
from relay.allowlist.registry import HostRegistry, Knock
from relay.allowlist.resolver import Resolver
from relay.app.endpoint_parts import challenges, issuing, kept_headers, upstream_routes
from relay.config import Endpoint as EndpointSettings
from relay.config import ExpectedSources, Settings, endpoint_options, provider_of, senders
from relay.config.settings import Confirm
from relay.core.clock import Clock, SystemClock
from relay.core.errors import RelayError
from relay.core.ids import event_ids
from relay.core.rate_limit import TokenBucket
from relay.core.request import Address, ForwardedHeader
from relay.core.strict_json import JsonLimits
from relay.delivery.confirmation import StatusClient
from relay.ingest.admission import Endpoint
from relay.ingest.authenticated_knock import LOOKUP_INTERVAL, AuthenticatedKnock
from relay.ingest.client_address import ClientLocator
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.reconcile import Reconciler, ReconcileTarget
from relay.ingest.refusals import RefusalReleaser
from relay.providers.snap.access_tokens import AccessTokens
from relay.spool import Spool

# ---- allowlists -----------------------------------------------------------------------------


def dns_cache(
    settings: Settings, clock: Clock, unsaved: Callable[[str], None] = lambda _: None
) -> DnsCache:
    """Return the cache of DNS answers on disk, not loaded yet. `unsaved` gets failed writes."""
    return DnsCache(settings.state_dir / "dns.json", settings.dns.max_stale, clock, unsaved)


def resolver(settings: Settings) -> Resolver:
    """Return a resolver for the configured name servers."""
    return Resolver(settings.dns.nameservers, settings.dns.timeout)


def policy(settings: Settings) -> Policy:
    """Return when DNS hosts are refreshed, and for how long their addresses are kept."""
    dns = settings.dns
    return Policy(dns.min_refresh, dns.max_refresh, dns.retain, dns.max_stale)


def host_registry(
    settings: Settings,
    cache: DnsCache,
    clock: Clock,
    observer: SourceObserver,
    is_proven: Callable[[Address], bool] = lambda _: False,
) -> HostRegistry:
    """Return the registry of DNS hosts, which makes allowlists and keeps them fresh.

    is_proven: whether a signed message was accepted from this address lately.
    """
    return HostRegistry(
        resolver=resolver(settings),
        policy=policy(settings),
        knock_interval=settings.dns.knock_interval,
        cache=cache,
        clock=clock,
        dice=SystemRandom(),
        observer=observer,
        is_proven=is_proven,
    )


def allowlist(endpoint: EndpointSettings, registry: HostRegistry) -> Allowlist:
    """Return the allowlist of this endpoint, kept fresh by the registry."""
    expected = expected_sources(endpoint)
    return registry.allowlist(endpoint.name, expected.networks, expected.hosts)


def expected_sources(endpoint: EndpointSettings) -> ExpectedSources:
    """Return the networks and DNS hosts that may send to this endpoint."""
    return senders(endpoint, provider_of(endpoint).info.environments[endpoint.environment])


# ---- receiving ------------------------------------------------------------------------------


def bind_endpoint(
    settings: EndpointSettings,
    registry: HostRegistry,
    json_limits: JsonLimits,
    knock: Knock | None = None,
    authenticated_knock: AuthenticatedKnock | None = None,
    *,
    tokens: AccessTokens | None = None,
) -> Endpoint:
    """Return an endpoint with its provider, secrets and allowlist bound together.

    json_limits: how much JSON a body may hold.
    knock: refreshes the hosts of `expected_sources` early; without it they are refreshed on
        schedule only.
    authenticated_knock: that of this endpoint; without it no unknown address can prove itself.
    tokens: access tokens of all endpoints; without them none is good.
    """
    bound = provider_of(settings)
    info = bound.info
    options = issuing(settings, endpoint_options(settings, info), tokens)
    return Endpoint(
        name=settings.name,
        path=settings.path,
        methods=info.methods,
        shapes=info.shapes_of(options.callback),
        provider=info.name,
        environment=settings.environment,
        upstreams=settings.default_upstreams,
        routes=upstream_routes(settings),
        inspector=bound.bind(options),
        headers=kept_headers(settings, info),
        allowlist=allowlist(settings, registry),
        mode=settings.allowlist.mode,
        knock=knock,
        answer_deadline=info.answer_deadline,
        token=info.token,
        token_in_body=info.token_in_body,
        gzip=info.gzip,
        proxied=settings.mode == "proxy",
        confirm=settings.confirm is not None,
        json_limits=json_limits,
        authenticated_knock=authenticated_knock,
        tokenless=bound.bind(replace(options, secrets=())) if info.token else None,
        query=None if settings.query is None else settings.query == "forward",
        keep=settings.keep,
        challenges=challenges(bound, options),
    )


def authenticated_knock(
    settings: EndpointSettings, registry: HostRegistry, clock: Clock
) -> AuthenticatedKnock | None:
    """Return what lets senders of unknown addresses prove themselves, where a list is enforced."""
    if settings.allowlist.mode is not Mode.ENFORCE or not settings.secrets:
        return None
    knock = registry.knock(expected_sources(settings).hosts, LOOKUP_INTERVAL)
    return AuthenticatedKnock(knock, clock)


def client_locator(settings: Settings) -> ClientLocator:
    """Return the locator of clients behind the configured trusted proxies."""
    return ClientLocator(settings.trusted_proxies, ForwardedHeader(settings.forwarded_header))


# ---- status APIs of providers ---------------------------------------------------------------


def status_client(endpoint: EndpointSettings, clock: Clock, stack: AsyncExitStack) -> StatusClient:
    """Return a client for the configured API, or else that of the endpoint's environment.

    The stack closes it.

    Raises:
        ValueError: there is none.
    """
    url = provider_of(endpoint).info.environments[endpoint.environment].status_api
    if endpoint.confirm is not None and endpoint.confirm.url is not None:
        url = endpoint.confirm.url
    if url is None:
        raise ValueError(f"{endpoint.name}: its provider cannot be asked for a status")
    client = StatusClient(url, clock)
    stack.push_async_callback(client.close)
    return client


# ---- allowlists as they were last known -----------------------------------------------------


def known_registry(settings: Settings, clock: Clock) -> HostRegistry:
    """Return a registry that holds the addresses in the state file, and refreshes none.

    Raises:
        RelayError: the state file cannot be read.
    """
    cache = dns_cache(settings, clock)
    if (problem := cache.load()) is not None:
        raise RelayError(problem)
    return host_registry(settings, cache, clock, _IgnoreLookups())


def known_allowlists(settings: Settings) -> dict[str, tuple[Mode, Allowlist]]:
    """Return every endpoint's mode and allowlist, by its name.

    Raises:
        RelayError: the state file cannot be read.
    """
    registry = known_registry(settings, SystemClock())
    return {
        each.name: (each.allowlist.mode, allowlist(each, registry)) for each in settings.endpoints
    }


class _IgnoreLookups:
    """A `SourceObserver` where nothing is looked up."""

    def looked_up(self, host: str, result: str) -> None: ...

    def changed(self, host: str, change: str, address: Address) -> None: ...

    def grown(self, host: str, before: int, now: int) -> None: ...


# ---- releasing refusals ---------------------------------------------------------------------


def releaser(settings: Settings, spool: Spool) -> RefusalReleaser:
    """Return a releaser of refusals that verifies by these settings and the addresses last known.

    Raises:
        RelayError: the state file cannot be read.
    """
    clock = SystemClock()
    registry = known_registry(settings, clock)
    limits = settings.limits.json_limits
    paths = EndpointPaths(bind_endpoint(each, registry, limits) for each in settings.endpoints)
    return RefusalReleaser(
        spool,
        paths=lambda: paths,
        secrets=settings.every_secret,
        clock=clock,
        new_id=event_ids(),
    )


# ---- reconciling ----------------------------------------------------------------------------


def unanswerable(endpoint: EndpointSettings) -> str | None:
    """Return why nothing can be reconciled at this endpoint; None when it can be."""
    info = provider_of(endpoint).info
    if info.environments[endpoint.environment].status_api is None:
        return f"{info.name} cannot be asked for a status"
    if not endpoint.secrets:
        return "it has no secrets, and a server key is what the status is asked with"
    if endpoint.mode == "proxy":
        return "it passes deliveries on (mode: proxy), and keeps no events"
    return None


def reconciler(
    endpoint: EndpointSettings, spool: Spool, clock: Clock, stack: AsyncExitStack
) -> Reconciler:
    """Return a reconciler of this endpoint; the stack closes its connections."""
    bound = provider_of(endpoint)
    confirm = endpoint.confirm or Confirm()
    target = ReconcileTarget(
        name=endpoint.name,
        path=endpoint.path,
        provider=bound.info.name,
        environment=endpoint.environment,
        upstreams=endpoint.default_upstreams,
        routes=upstream_routes(endpoint),
        inspector=bound.bind(endpoint_options(endpoint, bound.info)),
        secrets=endpoint.secrets,
        key=confirm.key,
        keep=endpoint.keep,
    )
    return Reconciler(
        target,
        api=status_client(endpoint, clock, stack),
        bucket=TokenBucket(confirm.rate),
        spool=spool,
        clock=clock,
        new_id=event_ids(),
    )
