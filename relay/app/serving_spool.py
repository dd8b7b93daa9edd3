"""The spool of a process that serves: what is done before it takes or delivers anything."""

from datetime import timedelta

from relay.config import Settings
from relay.delivery.retry import MAX_RETRY_AFTER
from relay.spool import Spool
from relay.spool.history import LONGEST_SPREAD
from relay.telemetry import Telemetry


async def prepare_spool(
    spool: Spool, settings: Settings, telemetry: Telemetry, *, delivers: bool
) -> None:
    """Make a spool ready for a process that serves, and log what it holds that needs a person.

    delivers: this process claims; leases that no process holds are due at once.

    Raises:
        SpoolUnavailable: it cannot be used.
    """
    await spool.reserve_space()
    if delivers and (recovered := await spool.recover(_longest_delay(settings))):
        telemetry.log.warning("recovered", events=recovered)
    await warn_of_missing_upstreams(spool, settings, telemetry)


async def warn_of_missing_upstreams(spool: Spool, settings: Settings, telemetry: Telemetry) -> None:
    """Log every upstream that has pending events and is not configured.

    Raises:
        SpoolUnavailable: it cannot be read.
    """
    waiting = (await spool.stats()).oldest_pending
    for name in sorted(set(waiting) - set(settings.upstreams)):
        telemetry.log.error(
            "upstream_missing",
            upstream=name,
            detail="events wait for an upstream that is not configured; name it again",
        )


def _longest_delay(settings: Settings) -> timedelta:
    """Return an upper bound on the delay of a retry, jitter included, or of what is requeued."""
    delays = [max(each.retry.schedule) for each in settings.upstreams.values()]
    return max(2 * max(MAX_RETRY_AFTER, *delays, timedelta()), LONGEST_SPREAD)
