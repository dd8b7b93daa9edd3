"""Upstreams as rows of JSON: what `status` and `upstreams list` show, in API, page and terminal."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from relay.admin.serializers import rfc3339
from relay.config import Endpoint
from relay.config.certificate_files import read_certificate
from relay.config.upstream_settings import Upstream
from relay.core.concurrency import run_in_daemon_thread
from relay.core.urls import is_https, without_query
from relay.spool.overview import Waiting
from relay.spool.pauses import Pause

#: Endpoints that are gone through before the event loop may run other tasks.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Configured:
    """What the configuration says of upstreams.

    upstreams: their settings by name. senders: the endpoints that lead to each.
    certificates: the end of the client certificate of those that are shown one.
    """

    upstreams: Mapping[str, Upstream]
    senders: Mapping[str, list[str]] = field(default_factory=dict)
    certificates: Mapping[str, datetime] = field(default_factory=dict)


async def read_configured(
    upstreams: Mapping[str, Upstream], endpoints: Iterable[Endpoint]
) -> Configured:
    """Return what settings say, with the ends of the client certificates that can be read now."""
    senders: dict[str, list[str]] = {}
    for number, endpoint in enumerate(endpoints, 1):
        for name in endpoint.every_upstream:
            senders.setdefault(name, []).append(endpoint.name)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    certificates: dict[str, datetime] = {}
    if any(each.tls.certificate for each in upstreams.values()):
        certificates = await run_in_daemon_thread(lambda: certificate_ends(upstreams))
    return Configured(upstreams, senders, certificates)


def certificate_ends(upstreams: Mapping[str, Upstream]) -> dict[str, datetime]:
    """Return the ends of the client certificates, by upstream. Reads their files."""
    found = {}
    for name, upstream in upstreams.items():
        if upstream.tls.certificate is not None:
            try:
                found[name] = read_certificate(upstream.tls.certificate).not_after
            except (OSError, ValueError):
                continue
    return found


def upstream_rows(
    configured: Configured,
    backlog: Mapping[str, Waiting],
    pauses: Mapping[str, Pause],
    breakers: Mapping[str, bool],
) -> list[dict[str, object]]:
    """Return a row for each upstream: the configured ones in their order, then what else there is.

    Others have events that wait for them, or a pause. backlog: as in `Overview`. breakers: whether
    each is open; the state of others is not known here.
    """
    others = sorted((backlog.keys() | pauses.keys()) - configured.upstreams.keys())
    return [
        {
            **_row(name, configured.upstreams.get(name), backlog.get(name, Waiting())),
            "breaker": {None: None, True: "open", False: "closed"}[breakers.get(name)],
            "paused": name in pauses or _is_paused(configured.upstreams.get(name)),
            **_settings(configured.upstreams.get(name), configured.certificates.get(name)),
            "endpoints": configured.senders.get(name, []),
        }
        for name in (*configured.upstreams, *others)
    ]


def _row(name: str, settings: Upstream | None, waiting: Waiting) -> dict[str, object]:
    return {
        "name": name,
        "url": None if settings is None else without_query(settings.url),
        "backlog": waiting.number,
        "oldest_at": None if waiting.since is None else rfc3339(waiting.since),
    }


def _settings(settings: Upstream | None, certificate_end: datetime | None) -> dict[str, object]:
    """Return how an upstream is called; of credentials the kind, never a value."""
    if settings is None:
        names = ("rate", "auth", "tls")
        return dict.fromkeys(names) | {"headers": [], "final": []}
    tls = {
        "ca": settings.tls.ca is not None,
        "certificate": settings.tls.certificate is not None,
        "certificate_ends": None if certificate_end is None else rfc3339(certificate_end),
        "server_name": settings.tls.server_name,
    }
    return {
        "rate": None if settings.rate is None else str(settings.rate),
        "auth": None if settings.auth is None else next(iter(type(settings.auth).model_fields)),
        "tls": tls if is_https(settings.url) else None,
        "headers": list(settings.headers),
        "final": list(settings.final),
    }


def _is_paused(settings: Upstream | None) -> bool:
    """Return whether the configuration pauses an upstream."""
    return settings is not None and settings.paused


# ---- rows as text ---------------------------------------------------------------------------

#: So many endpoints are named; an upstream may serve thousands.
_NAMED = 5


def called_with(row: Mapping[str, Any]) -> str:
    """Return in one line how an upstream is called: credentials, TLS, rate, final statuses."""
    # A relay of another version may tell less.
    parts = [row.get("auth"), *row.get("headers", ())]
    if tls := row.get("tls"):
        parts.append("own CA" if tls["ca"] else "")
        if tls["certificate"]:
            end = tls["certificate_ends"]
            parts.append(f"client certificate{f' until {end[:10]}' if end else ''}")
        parts.append(f"as {tls['server_name']}" if tls["server_name"] else "")
    parts.append(f"at most {row['rate']}" if row["rate"] else "")
    final = " ".join(map(str, row.get("final", ())))
    parts.append(f"final {final}" if final else "")
    return ", ".join(filter(None, parts))


def works_for(row: Mapping[str, Any]) -> str:
    """Return the endpoints that lead to an upstream, the first of them by name."""
    names = row.get("endpoints", ())
    more = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED]) or "no endpoint"
    return f"{shown} and {more} more" if more > 0 else shown
