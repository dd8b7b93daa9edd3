"""Events and refusals as JSON: one shape for the admin API and the command line."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from relay.core.errors import Reason
from relay.core.event import Event, Status
from relay.core.secret import Mask, Secret
from relay.spool import Page, Query, Record
from relay.spool.refusals import (
    RELEASABLE,
    AlreadyReleased,
    RefusalPage,
    RefusalQuery,
    Released,
    ReleaseResult,
    StoredRefusal,
)

# ---- events ---------------------------------------------------------------------------------

#: The most events that one page holds.
MAX_LIMIT = 1000

_FILTERS = ("status", "endpoint", "key", "since", "until", "limit", "after")


def page_json(page: Page) -> dict[str, object]:
    """Return one page, newest first; `next` is handed back as `after` for the next one."""
    return {"events": [summary(record) for record in page.records], "next": page.next}


def summary(record: Record) -> dict[str, object]:
    """Return one line of history."""
    return {
        "id": record.id,
        "endpoint": record.endpoint,
        "provider": record.provider,
        "status": record.status.value,
        "key": record.key,
        "received_at": rfc3339(record.received_at),
        "attempts": record.attempts,
        "upstream": record.upstream,
    }


def detail(record: Record, event: Event | None) -> dict[str, object]:
    """Return all there is to one event; its content is null once the body has been pruned.

    The body is shown as text; bytes that are no UTF-8 are escaped.
    """
    content: dict[str, object] | None = None
    if event is not None:
        content = {
            "environment": event.environment,
            "method": event.method,
            "suffix": event.suffix,
            "headers": [list(item) for item in event.headers],
            "signed": list(event.signed),
            "body": event.body.decode("utf-8", "backslashreplace"),
        }
    return summary(record) | {
        "subject": record.subject,
        "client": record.client,
        "due_at": _optional(record.due_at),
        "settled_at": _optional(record.settled_at),
        "last_outcome": record.last_outcome,
        "conflicts_with": record.conflicts_with,
        "out_of_order": record.out_of_order,
        "reconciled": record.reconciled,
        "content": content,
    }


def exported(record: Record, event: Event | None) -> dict[str, object]:
    """Return all there is to one event as `detail` does, with the body's own bytes in Base64."""
    told = detail(record, event)
    content = told["content"]
    if event is not None and isinstance(content, dict):
        del content["body"]
        content["body_base64"] = b64encode(event.body).decode("ascii")
    return told


def parse_query(given: Mapping[str, str]) -> Query:
    """Return the query that these filters mean.

    Raises:
        ValueError: a filter is unknown or unreadable; the message says what to write.
    """
    for name in given:
        if name not in _FILTERS:
            raise ValueError(f'no filter "{name}"; there are: {", ".join(_FILTERS)}')
    return Query(
        status=_status(given.get("status")),
        endpoint=given.get("endpoint"),
        key=given.get("key"),
        since=_time("since", given.get("since")),
        until=_time("until", given.get("until")),
        limit=_limit(given.get("limit")),
        after=given.get("after"),
    )


def rfc3339(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _optional(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _status(text: str | None) -> Status | None:
    if text is None:
        return None
    try:
        return Status(text)
    except ValueError:
        raise ValueError(f'no status "{text}"; there are: {", ".join(Status)}') from None


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f'{name}: "{text}" is no time; write it as 2026-01-31T08:00:00Z or 2026-01-31'
        raise ValueError(message) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _limit(text: str | None) -> int:
    if text is None:
        return Query().limit
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f'limit: "{text}" is not a number from 1 to {MAX_LIMIT}')
    return int(text)


# ---- refusals -------------------------------------------------------------------------------

#: The most refusals that one page holds.
MAX_REFUSALS = 1000

_REFUSAL_FILTERS = ("endpoint", "reason", "limit", "after")


def refusals_json(page: RefusalPage) -> dict[str, object]:
    """Return one page, the last kept first; `next` is handed back as `after` for the next one."""
    return {"refusals": [refusal_summary(kept) for kept in page.kept], "next": page.next}


def refusal_summary(kept: StoredRefusal) -> dict[str, object]:
    """Return one line. `reason` is that of the last verification."""
    refused = kept.refused
    return {
        "id": refused.id,
        "endpoint": refused.endpoint,
        "provider": refused.provider,
        "reason": refused.reason.value,
        "detail": refused.detail,
        "client": str(refused.client.address),
        "received_at": rfc3339(refused.head.received_at),
        "times": kept.times,
        "tried_at": None if kept.tried_at is None else rfc3339(kept.tried_at),
        "released_as": kept.released_as,
    }


def refusal_detail(kept: StoredRefusal, secrets: Iterable[Secret]) -> dict[str, object]:
    """Return all there is to one; its content is null once it has been released.

    secrets: those that are configured; each stands as `***` in what is shown.

    The body is shown as text; bytes that are no UTF-8 are escaped. Of the target, only the path is
    shown: people put tokens into queries, and a release needs the query as it came.
    """
    refused = kept.refused
    mask = Mask(secrets, refused.head.headers)
    content: dict[str, object] | None = None
    if kept.released_as is None:
        content = {
            "method": refused.head.method,
            "target": mask.whole(refused.head.path) + ("?…" if refused.head.query else ""),
            "headers": [[name, mask.whole(value)] for name, value in refused.head.headers],
            "body": mask.whole(refused.body.decode("utf-8", "backslashreplace")),
        }
    return refusal_summary(kept) | {
        "peer": str(refused.head.peer),
        "client_via": refused.client.via.value,
        "content": content,
    }


def result_json(refusal_id: str, result: ReleaseResult | None) -> dict[str, object]:
    """Return what came of releasing one; None is a refusal that nobody knows."""
    told: dict[str, object] = {"id": refusal_id}
    if result is None:
        return told | {"result": "unknown"}
    if isinstance(result, Released):
        return told | {
            "result": "duplicate" if result.duplicate else "released",
            "event": result.event_id,
        }
    if isinstance(result, AlreadyReleased):
        return told | {"result": "released_before", "event": result.event_id}
    return told | {
        "result": "refused",
        "reason": result.reason.value,
        "detail": result.detail,
    }


def parse_refusal_query(given: Mapping[str, str]) -> RefusalQuery:
    """Return the query that these filters mean.

    Raises:
        ValueError: a filter is unknown or unreadable; the message says what to write.
    """
    for name in given:
        if name not in _REFUSAL_FILTERS:
            raise ValueError(f'no filter "{name}"; there are: {", ".join(_REFUSAL_FILTERS)}')
    return RefusalQuery(
        endpoint=given.get("endpoint"),
        reason=_reason(given.get("reason")),
        limit=_refusal_limit(given.get("limit")),
        after=given.get("after"),
    )


def _reason(text: str | None) -> Reason | None:
    if text is None:
        return None
    try:
        return Reason(text)
    except ValueError:
        usual = ", ".join(sorted(RELEASABLE))
        raise ValueError(f'no reason "{text}"; what is kept usually has: {usual}') from None


def _refusal_limit(text: str | None) -> int:
    if text is None:
        return RefusalQuery().limit
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_REFUSALS:
        raise ValueError(f'limit: "{text}" is not a number from 1 to {MAX_REFUSALS}')
    return int(text)
