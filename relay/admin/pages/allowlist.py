"""Who may send: endpoint by endpoint, where each address is known from, and what has changed.

Of many endpoints, a few are shown at a time: a page of thousands would hold up deliveries.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from itertools import islice
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from relay.admin.health import Health
from relay.admin.pages.access import PageAccess
from relay.admin.pages.filters import filters_of
from relay.admin.pages.rendering import Renderer
from relay.admin.serializers import change_json, entry_json, source_json
from relay.allowlist import Mode
from relay.core.request import Address
from relay.ingest.admission import Endpoint
from relay.ingest.client_address import unmap_ipv4

#: What one page shows: endpoints, entries of each, and answers about one address.
_ENDPOINTS: Final = 5
_ENTRIES: Final = 100
_ANSWERS: Final = 50


class AllowlistPage:
    """`/allowlist`, and with `?address=` whether that one may send."""

    def __init__(self, access: PageAccess, renderer: Renderer, health: Health) -> None:
        self._access = access
        self._renderer = renderer
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/allowlist", self._show)]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        session = self._access.reader(request)
        filters = filters_of(request.query, ("address", "endpoint"))
        every = self._health.endpoints()
        chosen = [each for each in every if filters.get("endpoint", each.name) == each.name]
        start = _start(request.query.get("from", ""), len(chosen))
        checked, problem = None, None
        if (given := filters.get("address")) is not None:
            try:
                checked = _answers(chosen, ip_address(given))
            except ValueError:
                problem = f"{given} is no IP address. Write one as 203.0.113.7 or 2001:db8::7."
        return self._renderer.page(
            request,
            session,
            "allowlist.html",
            endpoints=[_shown(each) for each in chosen[start : start + _ENDPOINTS]],
            names=[each.name for each in every] if len(every) > _ENDPOINTS else [],
            chosen=filters.get("endpoint", ""),
            address=filters.get("address", ""),
            checked=checked,
            more_answers=max(0, len(chosen) - _ANSWERS),
            problem=problem,
            before=_link(filters, start - _ENDPOINTS, len(chosen)),
            behind=_link(filters, start + _ENDPOINTS, len(chosen)),
        )


def _start(text: str, number: int) -> int:
    """Return the first endpoint to show; 0 where the text is none of them."""
    start = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 - no number of endpoints
    return start if start < number else 0


def _link(filters: dict[str, str], start: int, number: int) -> str | None:
    return urlencode(filters | {"from": str(start)}) if 0 <= start < number else None


def _shown(endpoint: Endpoint) -> dict[str, object]:
    """Return one endpoint, with its first entries and the number of all."""
    entries = endpoint.allowlist.entries()
    return {
        "name": endpoint.name,
        "mode": endpoint.mode.value,
        "number": len(entries),
        "entries": [entry_json(entry) for entry in islice(entries, _ENTRIES)],
        "sources": [source_json(source.status()) for source in endpoint.allowlist.sources],
        "changes": [change_json(change) for change in islice(endpoint.allowlist.changes(), 20)],
    }


def _answers(endpoints: Sequence[Endpoint], address: Address) -> list[dict[str, object]]:
    """Return whether an address is admitted, and the entry that holds it; those that list it first.

    entry: None where it is on no list.
    """
    client = unmap_ipv4(address)
    found = [(endpoint, endpoint.allowlist.match(client)) for endpoint in endpoints]
    found.sort(key=lambda each: each[1] is None)
    return [
        {
            "endpoint": endpoint.name,
            "mode": endpoint.mode.value,
            "admitted": entry is not None or endpoint.mode is not Mode.ENFORCE,
            "entry": None if entry is None else entry_json(entry),
        }
        for endpoint, entry in islice(found, _ANSWERS)
    ]
