"""From settings to parts: what a configuration describes is constructed here.

`relay.app` calls these in order, adds what no setting describes, and runs it all.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random, SystemRandom

from relay.clientip import ClientLocator, ForwardedHeader
from relay.clock import Clock, SystemClock
from relay.config import Settings, certificates
from relay.config.binding import provider_of, senders, terms
from relay.config.endpoint import Endpoint as EndpointSettings
from relay.config.settings import SqliteSpool as SqliteSettings
from relay.dispatch import Dispatcher
from relay.edge.body import BodyLimits
from relay.edge.connections import Connections
from relay.edge.server import Edge, Listener
from relay.edge.tls import server_context
from relay.errors import RelayError, SpoolUnavailable
from relay.housekeeping import Housekeeping
from relay.ids import event_ids
from relay.ingest import Endpoint, Ingest, PassOn
from relay.journal import Journal
from relay.model import Address
from relay.routing import Routes
from relay.sources import Allowlist, Mode, SourceObserver
from relay.sources.addressbook import AddressBook
from relay.sources.dns import Resolver
from relay.sources.hostrecord import Policy
from relay.sources.memory import DnsMemory
from relay.spool import Spool, SpoolBroken
from relay.spool.sqlite import Migrated, migrate
from relay.spool.sqlite import open_spool as open_sqlite
from relay.telemetry import Telemetry
from relay.upstream.attempts import Upstream
from relay.upstream.forward import Forwarder
from relay.upstream.passthrough import Passage, Passthrough
from relay.upstream.retry import LONGEST_RETRY_AFTER, RetryPolicy
from relay.upstream.signing import Signer

# ---- the spool ------------------------------------------------------------------------------


async def existing_spool(settings: Settings) -> Spool:
    """Open the configured spool as a visitor: it is not made when it is not there.

    Raises:
        SpoolUnavailable: there is none, or it cannot be opened.
    """
    path = _sqlite(settings).path
    if not path.exists():
        raise SpoolUnavailable(f"there is no spool at {path}; `relay run` makes it")
    return await open_spool(settings)


async def open_spool(settings: Settings, clock: Clock | None = None) -> Spool:
    """Open the configured spool, making it when it is not there.

    Raises:
        SpoolUnavailable: it cannot be opened; the message says why.
    """
    return await open_sqlite(_sqlite(settings).path, clock or SystemClock())


def migrate_spool(settings: Settings) -> Migrated:
    """Bring the spool to the schema of this version; return the versions before and after.

    Raises:
        SpoolUnavailable: it cannot be done; the message says why, and nothing has changed.
    """
    return migrate(_sqlite(settings).path)


def housekeeping(
    settings: Settings, spool: Spool, clock: Clock, telemetry: Telemetry
) -> Housekeeping:
    """Return what prunes the spool."""
    return Housekeeping(
        spool,
        retain=settings.spool.retain,
        retain_keys=settings.spool.retain_keys,
        clock=clock,
        telemetry=telemetry,
    )


# ---- who may send ---------------------------------------------------------------------------


def dns_memory(
    settings: Settings, clock: Clock, unsaved: Callable[[str], None] = lambda _: None
) -> DnsMemory:
    """Return the keeper of what DNS said, not loaded yet. `unsaved` is told of failed writes."""
    return DnsMemory(settings.state_dir / "dns.json", settings.dns.max_stale, clock, unsaved)


def resolver(settings: Settings) -> Resolver:
    """Return what asks the configured name servers."""
    return Resolver(settings.dns.nameservers, settings.dns.timeout)


def address_book(
    settings: Settings, memory: DnsMemory, clock: Clock, observer: SourceObserver
) -> AddressBook:
    """Return what makes allowlists and keeps their host names fresh."""
    dns = settings.dns
    return AddressBook(
        resolver=resolver(settings),
        policy=Policy(dns.min_refresh, dns.max_refresh, dns.retain, dns.max_stale),
        knock_interval=dns.knock_interval,
        memory=memory,
        clock=clock,
        dice=SystemRandom(),
        observer=observer,
    )


def known_allowlists(settings: Settings) -> dict[str, tuple[Mode, Allowlist]]:
    """Return every endpoint's mode and allowlist, from the settings and what DNS said last.

    Raises:
        RelayError: what DNS said last cannot be read.
    """
    clock = SystemClock()
    memory = dns_memory(settings, clock)
    if (problem := memory.load()) is not None:
        raise RelayError(problem)
    book = address_book(settings, memory, clock, _Silence())
    return {each.name: (each.allowlist.mode, _allowlist(each, book)) for each in settings.endpoints}


class _Silence:
    """A `SourceObserver` for the command line, where nothing is looked up."""

    def looked_up(self, host: str, result: str) -> None: ...

    def changed(self, host: str, change: str, address: Address) -> None: ...


def _allowlist(endpoint: EndpointSettings, book: AddressBook) -> Allowlist:
    facts = provider_of(endpoint).facts
    who = senders(endpoint, facts.environments[endpoint.environment])
    return book.allowlist(endpoint.name, who.networks, who.hosts)


# ---- the inbound half -----------------------------------------------------------------------


def bind_endpoint(settings: EndpointSettings, book: AddressBook) -> Endpoint:
    """Return an endpoint with its provider, secrets and allowlist bound together."""
    bound = provider_of(settings)
    facts = bound.facts
    who = senders(settings, facts.environments[settings.environment])
    said = terms(settings, facts)
    return Endpoint(
        name=settings.name,
        path=settings.path,
        methods=facts.methods,
        shapes=facts.shapes_of(said.callback),
        provider=facts.name,
        environment=settings.environment,
        upstream=settings.upstream,
        inspector=bound.bind(said),
        headers=facts.headers,
        allowlist=book.allowlist(settings.name, who.networks, who.hosts),
        mode=settings.allowlist.mode,
        knock=book.knock(who.hosts),
        patience=facts.patience,
        proxied=settings.mode == "proxy",
    )


def client_locator(settings: Settings) -> ClientLocator:
    """Return what finds the client of a request."""
    return ClientLocator(settings.trusted_proxies, ForwardedHeader(settings.forwarded_header))


def connection_counter(settings: Settings, clients: ClientLocator) -> Connections:
    """Return the limits on connections."""
    return Connections(
        total=settings.limits.connections,
        per_address=settings.limits.connections_per_address,
        shares_address=clients.trusts,
    )


def edge(
    settings: Settings,
    *,
    endpoints: Sequence[Endpoint],
    clients: ClientLocator,
    connections: Connections,
    spool: Spool,
    pass_on: PassOn,
    clock: Clock,
    telemetry: Telemetry,
    give_up: Callable[[SpoolBroken], None],
) -> Edge:
    """Return the public side, not listening yet."""
    limits = settings.limits
    ingest = Ingest(
        routes=Routes(endpoints),
        clients=clients,
        spool=spool,
        pass_on=pass_on,
        telemetry=telemetry,
        clock=clock,
        new_id=event_ids(clock),
        answer_within=limits.answer_within,
        give_up=give_up,
    )
    return Edge(
        ingest=ingest,
        telemetry=telemetry,
        clock=clock,
        connections=connections,
        body=BodyLimits(size=limits.body, within=limits.body_timeout),
        header_timeout=limits.header_timeout,
    )


def listeners(settings: Settings) -> list[Listener]:
    """Return where to listen, with certificates loaded."""
    return [
        Listener(
            each.bind.host,
            each.bind.port,
            None if each.tls is None else server_context(each.tls.certificate, each.tls.key),
        )
        for each in settings.listen
    ]


def certificate_ends(settings: Settings) -> dict[str, datetime]:
    """Return when the certificate of each listener ends."""
    return {
        str(each.bind): certificates.read(each.tls.certificate).not_after
        for each in settings.listen
        if each.tls is not None
    }


# ---- the outbound half ----------------------------------------------------------------------


def forwarders(settings: Settings, clock: Clock) -> dict[str, Forwarder]:
    """Return what sends to each upstream; they hold connections, and have to be closed."""
    return {
        name: Forwarder(
            each.url,
            timeout=each.timeout,
            concurrency=each.concurrency,
            clock=clock,
            signer=Signer(each.signing_secrets) if each.signing_secrets else None,
        )
        for name, each in settings.upstreams.items()
    }


def journal(spool: Spool, clock: Clock, telemetry: Telemetry) -> Journal:
    """Return what writes down what was passed on, not running yet."""
    return Journal(spool, clock=clock, telemetry=telemetry)


def passthrough(
    settings: Settings,
    *,
    forwarders: dict[str, Forwarder],
    clock: Clock,
    telemetry: Telemetry,
    journal: Journal,
) -> Passthrough:
    """Return what passes deliveries on to every upstream."""
    passages = {
        name: Passage(forwarders[name], each.timeout, each.concurrency)
        for name, each in settings.upstreams.items()
    }
    return Passthrough(passages=passages, clock=clock, observer=telemetry, note=journal.note)


def longest_delay(settings: Settings) -> timedelta:
    """Return the most that an event may be put off, with what chance adds."""
    delays = [max(each.retry.schedule) for each in settings.upstreams.values()]
    return max(LONGEST_RETRY_AFTER, *delays, timedelta()) * 2


def dispatcher(
    settings: Settings,
    *,
    forwarders: dict[str, Forwarder],
    spool: Spool,
    clock: Clock,
    dice: Random,
    telemetry: Telemetry,
) -> Dispatcher:
    """Return what delivers, not running yet."""
    upstreams = [
        Upstream(
            name=name,
            sender=forwarders[name],
            timeout=each.timeout,
            concurrency=each.concurrency,
            retry=RetryPolicy(each.retry.schedule, each.retry.give_up_after),
            order_by_key=each.order_by_key,
        )
        for name, each in settings.upstreams.items()
    ]
    return Dispatcher(spool=spool, upstreams=upstreams, clock=clock, dice=dice, observer=telemetry)


def _sqlite(settings: Settings) -> SqliteSettings:
    if not isinstance(settings.spool, SqliteSettings):
        raise RelayError("other spools are refused when the configuration is read")
    return settings.spool
