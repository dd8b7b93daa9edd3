"""Settings to what the public edge is made of: connection limits, certificates, listeners."""

from collections.abc import Callable, Mapping

from relay.config import Settings
from relay.core.clock import Clock
from relay.core.request import Address
from relay.edge.connections import Connections
from relay.edge.listener import Listener, connection_budget, descriptors
from relay.edge.tls import ServerTls
from relay.ingest.client_address import ClientLocator


def limits_on_connections(
    settings: Settings,
    locator: ClientLocator,
    clock: Clock,
    is_sender: Callable[[Address], bool],
    on_evicted: Callable[[], None],
) -> Connections:
    """Return the limits on connections: lower than configured where descriptors are few."""
    limits = settings.limits
    others = sum(upstream.concurrency for upstream in settings.upstreams.values())
    return Connections(
        total=limits.connections,
        ceiling=connection_budget(available=descriptors(), others=others),
        per_address=limits.connections_per_address,
        shares_address=locator.trusts,
        now=clock.monotonic,
        is_sender=is_sender,
        on_evicted=on_evicted,
    )


def server_tls(settings: Settings) -> dict[str, ServerTls]:
    """Return the certificate and key of each listener that has them, loaded, by its address."""
    return {
        str(each.bind): ServerTls(each.tls.certificate, each.tls.key)
        for each in settings.listen
        if each.tls is not None
    }


def listeners(settings: Settings, tls: Mapping[str, ServerTls]) -> list[Listener]:
    """Return where to listen, with the contexts of `server_tls`."""
    return [
        Listener(
            each.bind.host,
            each.bind.port,
            None if each.tls is None else tls[str(each.bind)].context,
            each.proxy_protocol,
        )
        for each in settings.listen
    ]
