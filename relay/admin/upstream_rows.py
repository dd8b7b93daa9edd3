"""Upstreams as rows of JSON: what `status` and `upstreams list` show, in API, page and terminal."""

from collections.abc import Mapping

from relay.admin.serializers import rfc3339
from relay.config.upstream_settings import Upstream
from relay.core.urls import without_query
from relay.spool.overview import Waiting
from relay.spool.pauses import Pause


def upstream_rows(
    configured: Mapping[str, Upstream],
    backlog: Mapping[str, Waiting],
    pauses: Mapping[str, Pause],
    breakers: Mapping[str, bool],
) -> list[dict[str, object]]:
    """Return a row for each upstream: the configured ones in their order, then what else there is.

    Others have events that wait for them, or a pause. backlog: as in `Overview`. breakers: whether
    each is open; the state of others is not known here.
    """
    others = sorted((backlog.keys() | pauses.keys()) - configured.keys())
    return [
        _row(name, configured.get(name), backlog.get(name, Waiting()), breakers.get(name))
        | {
            "paused": name in pauses or _is_paused(configured.get(name)),
            "rate": _rate(configured.get(name)),
        }
        for name in (*configured, *others)
    ]


def _row(
    name: str, settings: Upstream | None, waiting: Waiting, is_open: bool | None
) -> dict[str, object]:
    return {
        "name": name,
        "url": None if settings is None else without_query(settings.url),
        "backlog": waiting.number,
        "oldest_at": None if waiting.since is None else rfc3339(waiting.since),
        "breaker": None if is_open is None else "open" if is_open else "closed",
    }


def _is_paused(settings: Upstream | None) -> bool:
    """Return whether the configuration pauses an upstream."""
    return settings is not None and settings.paused


def _rate(settings: Upstream | None) -> str | None:
    """Return the rate of an upstream as it is written in the file."""
    return None if settings is None or settings.rate is None else str(settings.rate)
