"""Settings to parts: the constructions that several modules of this package and commands share.

What only one of them needs is constructed there: `generation` builds endpoints and upstreams,
`runtime` the parts that live as long as the process, `standalone` those of commands, `spools` the
spool.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from random import SystemRandom

from relay.allowlist import Allowlist, SourceObserver
from relay.allowlist.dns_cache import DnsCache
from relay.allowlist.dns_source import Policy
from relay.allowlist.registry import HostRegistry, Knock
from relay.allowlist.resolver import Resolver
from relay.config import Endpoint as EndpointSettings
from relay.config import ExpectedSources, Settings, endpoint_options, provider_of, senders
from relay.core.clock import Clock
from relay.core.request import ForwardedHeader
from relay.delivery.confirmation import StatusClient
from relay.ingest.admission import Endpoint
from relay.ingest.client_address import ClientLocator

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
    settings: Settings, cache: DnsCache, clock: Clock, observer: SourceObserver
) -> HostRegistry:
    """Return the registry of DNS hosts, which makes allowlists and keeps them fresh."""
    return HostRegistry(
        resolver=resolver(settings),
        policy=policy(settings),
        knock_interval=settings.dns.knock_interval,
        cache=cache,
        clock=clock,
        dice=SystemRandom(),
        observer=observer,
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
    settings: EndpointSettings, registry: HostRegistry, knock: Knock | None = None
) -> Endpoint:
    """Return an endpoint with its provider, secrets and allowlist bound together.

    knock: refreshes the hosts of `expected_sources` early; without it they are refreshed on
        schedule only.
    """
    bound = provider_of(settings)
    info = bound.info
    options = endpoint_options(settings, info)
    return Endpoint(
        name=settings.name,
        path=settings.path,
        methods=info.methods,
        shapes=info.shapes_of(options.callback),
        provider=info.name,
        environment=settings.environment,
        upstream=settings.upstream,
        inspector=bound.bind(options),
        headers=info.headers,
        allowlist=allowlist(settings, registry),
        mode=settings.allowlist.mode,
        knock=knock,
        answer_deadline=info.answer_deadline,
        token=info.token,
        proxied=settings.mode == "proxy",
        confirm=settings.confirm is not None,
    )


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
