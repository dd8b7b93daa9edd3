"""Acts of people as JSON, and filters as queries: for API and command line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.admin.serializers import parse_event_query, rfc3339
from relay.spool.audit import Act, Actor

_FILTERS: Final = ("since", "actor", "limit")


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which acts. None does not narrow; `since` is inclusive."""

    since: datetime | None
    actor: Actor | None
    limit: int


def parse_audit_query(given: Mapping[str, str], now: datetime) -> AuditQuery:
    """Return the query that these filters mean now.

    Raises:
        ValueError: a filter is unknown or unreadable; the message says what to write.
    """
    for name in given:
        if name not in _FILTERS:
            raise ValueError(f'no filter "{name}"; there are: {", ".join(_FILTERS)}')
    # Times and numbers are written as for events.
    written = {name: given[name] for name in ("since", "limit") if name in given}
    common = parse_event_query(written, now)
    return AuditQuery(common.since, _actor(given.get("actor")), common.limit)


def _actor(text: str | None) -> Actor | None:
    if text is None:
        return None
    if text not in set(Actor):
        raise ValueError(f'no actor "{text}"; there are: {", ".join(Actor)}')
    return Actor(text)


def audit_json(acts: Iterable[Act]) -> dict[str, object]:
    """Return acts, the newest first."""
    return {"audit": [act_json(act) for act in acts]}


def act_json(act: Act) -> dict[str, object]:
    """Return one act."""
    return {
        "at": rfc3339(act.at),
        "act": act.name,
        "actor": act.actor.value,
        "origin": act.origin,
        "detail": dict(act.detail),
    }
