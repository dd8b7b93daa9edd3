"""Parts for commands that work without a running relay.

Allowlists are made of the addresses that the running relay last wrote to its state file: nothing
is looked up in DNS.
"""

from contextlib import AsyncExitStack

from relay.allowlist import Allowlist, Mode
from relay.allowlist.registry import HostRegistry
from relay.app import builder
from relay.config import Endpoint as EndpointSettings
from relay.config import Settings, endpoint_options, provider_of
from relay.config.settings import Confirm
from relay.core.clock import Clock, SystemClock
from relay.core.errors import RelayError
from relay.core.ids import event_ids
from relay.core.rate_limit import TokenBucket
from relay.core.request import Address
from relay.ingest.reconcile import Reconciler, ReconcileTarget
from relay.ingest.refusals import RefusalReleaser
from relay.ingest.routing import Routes
from relay.spool import Spool

# ---- allowlists as they were last known -----------------------------------------------------


def known_registry(settings: Settings, clock: Clock) -> HostRegistry:
    """Return a registry that holds the addresses in the state file, and refreshes none.

    Raises:
        RelayError: the state file cannot be read.
    """
    cache = builder.dns_cache(settings, clock)
    if (problem := cache.load()) is not None:
        raise RelayError(problem)
    return builder.host_registry(settings, cache, clock, _IgnoreLookups())


def known_allowlists(settings: Settings) -> dict[str, tuple[Mode, Allowlist]]:
    """Return every endpoint's mode and allowlist, by its name.

    Raises:
        RelayError: the state file cannot be read.
    """
    registry = known_registry(settings, SystemClock())
    return {
        each.name: (each.allowlist.mode, builder.allowlist(each, registry))
        for each in settings.endpoints
    }


class _IgnoreLookups:
    """A `SourceObserver` where nothing is looked up."""

    def looked_up(self, host: str, result: str) -> None: ...

    def changed(self, host: str, change: str, address: Address) -> None: ...


# ---- releasing refusals ---------------------------------------------------------------------


def releaser(settings: Settings, spool: Spool) -> RefusalReleaser:
    """Return a releaser of refusals that verifies by these settings and the addresses last known.

    Raises:
        RelayError: the state file cannot be read.
    """
    clock = SystemClock()
    registry = known_registry(settings, clock)
    routes = Routes(builder.bind_endpoint(each, registry) for each in settings.endpoints)
    return RefusalReleaser(
        spool,
        routes=lambda: routes,
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
        upstream=endpoint.upstream,
        inspector=bound.bind(endpoint_options(endpoint, bound.info)),
        secrets=endpoint.secrets,
    )
    return Reconciler(
        target,
        api=builder.status_client(endpoint, clock, stack),
        bucket=TokenBucket(confirm.rate),
        spool=spool,
        clock=clock,
        new_id=event_ids(),
    )
