"""From settings to the parts that keep refusals and release them."""

from collections.abc import Callable, Iterable

from relay import assembly
from relay.clock import Clock, SystemClock
from relay.config import Settings
from relay.errors import RelayError
from relay.ids import event_ids
from relay.ingest import Endpoint
from relay.kept import Bounds, RefusalStore
from relay.refusals.desk import ReleaseDesk
from relay.refusals.keeper import Keeper
from relay.routing import Routes
from relay.secret import Secret
from relay.spool import Spool
from relay.spool.sqlite import SqliteSpool
from relay.telemetry import Telemetry


def store(spool: Spool) -> RefusalStore:
    """Return where this spool keeps refusals; open as long as the spool is."""
    if not isinstance(spool, SqliteSpool):
        raise RelayError("other spools are refused when the configuration is read")
    return spool.refusals


def keeper(spool: Spool, clock: Clock, telemetry: Telemetry) -> Keeper:
    """Return what notes refused deliveries, not running yet."""
    new_id = event_ids(clock)
    return Keeper(
        store(spool),
        clock=clock,
        telemetry=telemetry,
        new_id=lambda: new_id().replace("evt_", "ref_", 1),
        bounds=Bounds(),
    )


def desk(
    spool: Spool,
    routes: Callable[[], Routes[Endpoint]],
    secrets: Callable[[], Iterable[Secret]],
    clock: Clock,
) -> ReleaseDesk:
    """Return what releases refusals as the endpoints judge them that there are then.

    secrets: gives those that are configured then.
    """
    return ReleaseDesk(
        store(spool),
        spool,
        routes=routes,
        secrets=secrets,
        clock=clock,
        new_id=event_ids(clock),
    )


def visiting_desk(settings: Settings, spool: Spool) -> ReleaseDesk:
    """Return what releases refusals under these settings, and what DNS said last.

    Raises:
        RelayError: what DNS said last cannot be read.
    """
    clock = SystemClock()
    book = assembly.known_book(settings, clock)
    routes = Routes(assembly.bind_endpoint(each, book) for each in settings.endpoints)
    return desk(spool, lambda: routes, settings.every_secret, clock)
