"""Where the events of an endpoint go, and how each upstream is called, as `relay check` says it.

Of credentials the kinds are said, of header fields the names, and nothing of a secret.
"""

from collections.abc import Iterator
from typing import Any

from relay.cli.output import print_table
from relay.config import Endpoint, Settings
from relay.config.upstream_settings import OAuth2Auth, Upstream
from relay.core.conditions import Condition, HeaderCondition
from relay.core.urls import without_query

_AUTH = {"bearer": "a bearer token", "basic": "a user and a password (Basic)"}


# ---- one endpoint ---------------------------------------------------------------------------


def destinations(endpoint: Endpoint, settings: Settings) -> dict[str, Any]:
    """Return the upstreams of an endpoint's events, and its routes, as JSON.

    `upstream` is null where there are several; `upstreams` are those of events that take no route.
    """
    default = [
        {"name": name, "url": without_query(settings.upstreams[name].url)}
        for name in endpoint.default_upstreams
    ]
    return {
        "upstream": default[0] if len(default) == 1 else None,
        "upstreams": default,
        "routes": [
            {"when": _when(route.when.condition()), "upstreams": list(route.upstreams)}
            for route in endpoint.routes
        ],
    }


def _when(condition: Condition) -> dict[str, Any]:
    if isinstance(condition, HeaderCondition):
        return {"header": condition.name, "in": list(condition.values)}
    return {"json": condition.pointer, "in": list(condition.values)}


def destination_rows(endpoint: Endpoint, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the rows of an endpoint's table: its routes in their order, and what is left."""
    for route in endpoint.routes:
        condition = route.when.condition()
        values = " or ".join(condition.values)
        goes = ", ".join(route.upstreams) or "nowhere: stored, and delivered to no upstream"
        yield f"when {condition} is {values}", goes
    if endpoint.routes:
        yield "else", ", ".join(endpoint.default_upstreams)
    for name in endpoint.every_upstream:
        yield "goes to", f"{name}, {without_query(settings.upstreams[name].url)}"


# ---- the upstreams --------------------------------------------------------------------------


def upstream_summary(name: str, upstream: Upstream) -> dict[str, Any]:
    """Return how one upstream is called, as JSON."""
    auth, tls = upstream.auth, upstream.tls
    kind = None if auth is None else next(iter(type(auth).model_fields))
    summary = {
        "name": name,
        "url": without_query(upstream.url),
        "auth": kind,
        "headers": list(upstream.headers),
        "tls": {key: str(value) for key, value in tls if value is not None},
        "rate": None if upstream.rate is None else str(upstream.rate),
        "final": list(upstream.final),
        "paused": upstream.paused,
    }
    if isinstance(auth, OAuth2Auth):
        summary["token_url"] = without_query(auth.oauth2.token_url)
    return summary


def print_upstreams(settings: Settings) -> None:
    """Print a table of each upstream of which there is more to say than its URL."""
    for name, upstream in settings.upstreams.items():
        rows = list(_upstream_rows(upstream_summary(name, upstream)))
        if rows:
            print_table(("upstream", name), [("URL", without_query(upstream.url)), *rows])


def _upstream_rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if found["auth"] is not None:
        said = _AUTH.get(found["auth"]) or f"OAuth2, with tokens from {found['token_url']}"
        yield "shows", said
    if found["headers"]:
        yield "adds", f"the header fields {', '.join(found['headers'])}"
    tls = found["tls"]
    if "certificate" in tls:
        yield "shows", f"the client certificate in {tls['certificate']}"
    if "ca" in tls:
        yield "believes", f"the authorities in {tls['ca']}, and no others"
    if "server_name" in tls:
        yield "believes", f"a certificate for {tls['server_name']}, whatever host the URL names"
    if found["rate"] is not None:
        yield "rate", f"{found['rate']} at most"
    if found["final"]:
        statuses = ", ".join(map(str, found["final"]))
        yield "final", f"{statuses}: an event is dead at once"
    if found["paused"]:
        yield "paused", "events wait until the file says otherwise"
