"""Settings to parts: everything that a configuration describes is constructed here.

`relay.app.runtime` calls these in order, adds what no setting describes, and runs it all.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from random import SystemRandom

from relay.allowlist import Allowlist, Mode, SourceObserver
from relay.allowlist.dns_cache import DnsCache
from relay.allowlist.dns_source import Policy
from relay.allowlist.registry import HostRegistry, Knock
from relay.allowlist.resolver import Resolver
from relay.config import Endpoint as EndpointSettings
from relay.config import ExpectedSources, Settings, endpoint_options, provider_of, senders
from relay.config.settings import Confirm
from relay.config.settings import Upstream as UpstreamSettings
from relay.core.clock import Clock, SystemClock
from relay.core.errors import RelayError
from relay.core.ids import event_ids
from relay.core.rate_limit import TokenBucket
from relay.core.request import Address, ForwardedHeader
from relay.core.secret import Secret
from relay.delivery.attempt import Upstream
from relay.delivery.confirmation import MAX_CONFIRMATION, StatusClient, StatusConfirmer
from relay.delivery.proxy import ProxiedHistory, ProxyUpstream
from relay.delivery.retry import MAX_RETRY_AFTER, RetryPolicy
from relay.delivery.sender import HttpSender
from relay.edge.connections import Connections
from relay.edge.listener import Edge, Listener, connection_budget, descriptors
from relay.edge.slow_path import BodyLimits
from relay.edge.tls import ServerTls
from relay.ingest.client_address import ClientLocator
from relay.ingest.pipeline import Endpoint, Ingest
from relay.ingest.reconcile import Reconciler, ReconcileTarget
from relay.ingest.refusals import RefusalRecorder, RefusalReleaser
from relay.ingest.routing import Routes
from relay.signatures.shared_secret import Signer
from relay.spool import Spool
from relay.spool.refusals import RefusalLimits
from relay.telemetry import Telemetry

# ---- who may send ---------------------------------------------------------------------------


def dns_cache(
    settings: Settings, clock: Clock, unsaved: Callable[[str], None] = lambda _: None
) -> DnsCache:
    """Return the keeper of what DNS said, not loaded yet. `unsaved` is told of failed writes."""
    return DnsCache(settings.state_dir / "dns.json", settings.dns.max_stale, clock, unsaved)


def resolver(settings: Settings) -> Resolver:
    """Return what asks the configured name servers."""
    return Resolver(settings.dns.nameservers, settings.dns.timeout)


def policy(settings: Settings) -> Policy:
    """Return when to look again, and how long to hold on to what DNS gave."""
    dns = settings.dns
    return Policy(dns.min_refresh, dns.max_refresh, dns.retain, dns.max_stale)


def host_registry(
    settings: Settings, cache: DnsCache, clock: Clock, observer: SourceObserver
) -> HostRegistry:
    """Return what makes allowlists and keeps their host names fresh."""
    dns = settings.dns
    return HostRegistry(
        resolver=resolver(settings),
        policy=policy(settings),
        knock_interval=dns.knock_interval,
        cache=cache,
        clock=clock,
        dice=SystemRandom(),
        observer=observer,
    )


def known_allowlists(settings: Settings) -> dict[str, tuple[Mode, Allowlist]]:
    """Return every endpoint's mode and allowlist, from the settings and what DNS said last.

    Raises:
        RelayError: what DNS said last cannot be read.
    """
    registry = known_registry(settings, SystemClock())
    return {
        each.name: (each.allowlist.mode, _allowlist(each, registry)) for each in settings.endpoints
    }


def known_registry(settings: Settings, clock: Clock) -> HostRegistry:
    """Return what makes allowlists of what DNS said last; nothing is looked up.

    Raises:
        RelayError: what DNS said last cannot be read.
    """
    cache = dns_cache(settings, clock)
    if (problem := cache.load()) is not None:
        raise RelayError(problem)
    return host_registry(settings, cache, clock, _Silence())


class _Silence:
    """A `SourceObserver` for the command line, where nothing is looked up."""

    def looked_up(self, host: str, result: str) -> None: ...

    def changed(self, host: str, change: str, address: Address) -> None: ...


def endpoint_hosts(endpoint: EndpointSettings) -> tuple[str, ...]:
    """Return the host names that may send to this endpoint."""
    return _senders(endpoint).hosts


def _allowlist(endpoint: EndpointSettings, registry: HostRegistry) -> Allowlist:
    who = _senders(endpoint)
    return registry.allowlist(endpoint.name, who.networks, who.hosts)


def _senders(endpoint: EndpointSettings) -> ExpectedSources:
    return senders(endpoint, provider_of(endpoint).info.environments[endpoint.environment])


# ---- the inbound half -----------------------------------------------------------------------


def bind_endpoint(
    settings: EndpointSettings, registry: HostRegistry, knock: Knock | None = None
) -> Endpoint:
    """Return an endpoint with its provider, secrets and allowlist bound together.

    knock: looks early at `endpoint_hosts`; without it nothing does.
    """
    bound = provider_of(settings)
    info = bound.info
    said = endpoint_options(settings, info)
    return Endpoint(
        name=settings.name,
        path=settings.path,
        methods=info.methods,
        shapes=info.shapes_of(said.callback),
        provider=info.name,
        environment=settings.environment,
        upstream=settings.upstream,
        inspector=bound.bind(said),
        headers=info.headers,
        allowlist=_allowlist(settings, registry),
        mode=settings.allowlist.mode,
        knock=knock,
        answer_deadline=info.answer_deadline,
        token=info.token,
        proxied=settings.mode == "proxy",
        confirm=settings.confirm is not None,
    )


def client_locator(settings: Settings) -> ClientLocator:
    """Return what finds the client of a request."""
    return ClientLocator(settings.trusted_proxies, ForwardedHeader(settings.forwarded_header))


def connection_counter(settings: Settings, clients: ClientLocator) -> Connections:
    """Return the limits on connections: fewer than configured where descriptors are few."""
    limits = settings.limits
    others = sum(upstream.concurrency for upstream in settings.upstreams.values())
    return Connections(
        total=limits.connections,
        ceiling=connection_budget(available=descriptors(), others=others),
        per_address=limits.connections_per_address,
        shares_address=clients.trusts,
    )


def edge(
    settings: Settings,
    *,
    ingest: Ingest,
    clients: ClientLocator,
    connections: Connections,
    clock: Clock,
    telemetry: Telemetry,
) -> Edge:
    """Return the public side, not listening yet."""
    return Edge(
        ingest=ingest,
        telemetry=telemetry,
        clock=clock,
        connections=connections,
        body=body_limits(settings),
        header_timeout=settings.limits.header_timeout,
        trusts=clients.trusts,
    )


def body_limits(settings: Settings) -> BodyLimits:
    """Return the limits on bodies."""
    return BodyLimits(size=settings.limits.body, within=settings.limits.body_timeout)


def server_tls(settings: Settings) -> dict[str, ServerTls]:
    """Return the certificate and key of each listener that has them, loaded, by its address."""
    return {
        str(each.bind): ServerTls(each.tls.certificate, each.tls.key)
        for each in settings.listen
        if each.tls is not None
    }


def listeners(settings: Settings, tls: Mapping[str, ServerTls]) -> list[Listener]:
    """Return where to listen, with the certificates of `server_tls`."""
    return [
        Listener(
            each.bind.host,
            each.bind.port,
            None if each.tls is None else tls[str(each.bind)].context,
            each.proxy_protocol,
        )
        for each in settings.listen
    ]


# ---- the outbound half ----------------------------------------------------------------------


def http_sender(settings: UpstreamSettings, clock: Clock) -> HttpSender:
    """Return what sends to this upstream; it holds connections, and has to be closed."""
    return HttpSender(
        settings.url,
        timeout=settings.timeout,
        concurrency=settings.concurrency,
        clock=clock,
        signer=Signer(settings.signing_secrets) if settings.signing_secrets else None,
    )


def history(spool: Spool, clock: Clock, telemetry: Telemetry) -> ProxiedHistory:
    """Return what writes down what was passed on, not running yet."""
    return ProxiedHistory(spool, clock=clock, telemetry=telemetry)


def proxy_upstream(settings: UpstreamSettings, http_sender: HttpSender) -> ProxyUpstream:
    """Return the way on which deliveries are passed on to this upstream."""
    return ProxyUpstream(http_sender, settings.timeout, settings.concurrency)


def longest_delay(settings: Settings) -> timedelta:
    """Return the most that an event may be put off, with what chance adds."""
    delays = [max(each.retry.schedule) for each in settings.upstreams.values()]
    return max(MAX_RETRY_AFTER, *delays, timedelta()) * 2


def time_to_ask(settings: Settings) -> timedelta:
    """Return the most that asking a provider takes before an attempt; nothing when none is."""
    asking = any(each.confirm is not None for each in settings.endpoints)
    return MAX_CONFIRMATION if asking else timedelta()


def upstream(
    name: str,
    settings: UpstreamSettings,
    before: timedelta,
    http_sender: HttpSender,
    confirmer: StatusConfirmer,
) -> Upstream:
    """Return how this upstream is served. `before`: time that an attempt may take besides."""
    return Upstream(
        name=name,
        sender=http_sender,
        timeout=before + settings.timeout,
        concurrency=settings.concurrency,
        confirmer=confirmer,
        retry=RetryPolicy(settings.retry.schedule, settings.retry.give_up_after),
        order_by_key=settings.order_by_key,
        url=settings.url,
    )


# ---- asking providers: before a delivery, and to reconcile ----------------------------------


def status_client(endpoint: EndpointSettings, clock: Clock, stack: AsyncExitStack) -> StatusClient:
    """Return what asks the API of this endpoint's environment, or the one that is configured.

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
    """Return what asks about orders of this endpoint; the stack closes its connections."""
    bound = provider_of(endpoint)
    confirm = endpoint.confirm or Confirm()
    record = ReconcileTarget(
        name=endpoint.name,
        path=endpoint.path,
        provider=bound.info.name,
        environment=endpoint.environment,
        upstream=endpoint.upstream,
        inspector=bound.bind(endpoint_options(endpoint, bound.info)),
        secrets=endpoint.secrets,
    )
    return Reconciler(
        record,
        api=status_client(endpoint, clock, stack),
        bucket=TokenBucket(confirm.rate),
        spool=spool,
        clock=clock,
        new_id=event_ids(),
    )


# ---- recording and releasing refusals -------------------------------------------------------


def recorder(spool: Spool, clock: Clock, telemetry: Telemetry) -> RefusalRecorder:
    """Return what notes refused deliveries, not running yet."""
    new_id = event_ids()
    return RefusalRecorder(
        spool.refusals,
        clock=clock,
        telemetry=telemetry,
        new_id=lambda at: new_id(at).replace("evt_", "ref_", 1),
        bounds=RefusalLimits(),
    )


def releaser(
    spool: Spool,
    routes: Callable[[], Routes[Endpoint]],
    secrets: Callable[[], Iterable[Secret]],
    clock: Clock,
) -> RefusalReleaser:
    """Return what releases refusals as the endpoints judge them that there are then.

    secrets: gives those that are configured then.
    """
    return RefusalReleaser(
        spool,
        routes=routes,
        secrets=secrets,
        clock=clock,
        new_id=event_ids(),
    )


def visiting_releaser(settings: Settings, spool: Spool) -> RefusalReleaser:
    """Return what releases refusals under these settings, and what DNS said last.

    Raises:
        RelayError: what DNS said last cannot be read.
    """
    clock = SystemClock()
    registry = known_registry(settings, clock)
    routes = Routes(bind_endpoint(each, registry) for each in settings.endpoints)
    return releaser(spool, lambda: routes, settings.every_secret, clock)
