"""Events, refusals and allowlist entries as JSON, and filters as queries.

The admin API, the operator page and the command line show and parse the same.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from relay.core.errors import Reason
from relay.core.event import Event, Status
from relay.core.json_pointer import masked
from relay.core.moments import parse_moment
from relay.core.redaction import NOTHING, Redacted, Redaction
from relay.core.request import Keep, query_dropped
from relay.core.secret import Mask, Secret
from relay.core.visible_text import decoded, visible
from relay.spool.history import Attempt, Destination, Page, Query, Record, Requeued
from relay.spool.refusals import (
    RELEASABLE,
    AlreadyReleased,
    RefusalPage,
    RefusalQuery,
    Released,
    ReleaseResult,
    StoredRefusal,
)
from relay.spool.strangers import Stranger, StrangerQuery

if TYPE_CHECKING:
    # Commands that show events start faster without it.
    from relay.allowlist import AddressChange, Entry, SourceStatus

# ---- common to all --------------------------------------------------------------------------

#: The most events or refusals that one page holds.
MAX_LIMIT: Final = 1000


def rfc3339(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _optional_time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _check_names(given: Mapping[str, str], filters: Sequence[str]) -> None:
    for name in given:
        if name not in filters:
            raise ValueError(f'no filter "{name}"; there are: {", ".join(filters)}')


def _limit(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f'limit: "{text}" is not a number from 1 to {MAX_LIMIT}')
    return int(text)


def _time(name: str, given: Mapping[str, str], now: datetime) -> datetime | None:
    if name not in given:
        return None
    try:
        return parse_moment(given[name], now)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _find(given: Mapping[str, str]) -> str | None:
    if given.get("find") == "":
        raise ValueError("find: is empty; write a reference, an event id or a key")
    return given.get("find")


# ---- events ---------------------------------------------------------------------------------

_EVENT_FILTERS: Final = (
    *("find", "status", "endpoint", "upstream", "key", "since", "until", "limit", "after"),
)


def events_json(page: Page) -> dict[str, object]:
    """Return one page, newest first; `next` is handed back as `after` for the next one."""
    return {"events": [event_summary(record) for record in page.records], "next": page.next}


def event_summary(record: Record) -> dict[str, object]:
    """Return one line of history."""
    return {
        "id": record.id,
        "endpoint": record.endpoint,
        "provider": record.provider,
        "status": record.status.value,
        "key": record.key,
        "received_at": rfc3339(record.received_at),
        "attempts": record.attempts,
        "upstream": record.upstream or None,
        "destinations": [_destination(each) for each in record.destinations],
        "references": [[name, text] for name, text in record.references],
    }


def _destination(destination: Destination) -> dict[str, object]:
    return {
        "upstream": destination.upstream,
        "status": destination.status.value,
        "attempts": destination.attempts,
        "due_at": _optional_time(destination.due_at),
        "settled_at": _optional_time(destination.settled_at),
        "last_outcome": destination.last_outcome,
        "reason": destination.reason,
    }


def event_detail(
    record: Record,
    event: Event | None,
    attempts: Sequence[Attempt] = (),
    redaction: Redaction = NOTHING,
    most: int | None = None,
) -> dict[str, object]:
    """Return everything about one event; its content is null once the body has been pruned.

    most: bytes of the body that are told; None for all.

    Body and answers are shown as text, with tokens masked and redacted; bytes that are no UTF-8 are
    escaped. Where the body alone was removed, it is null.
    """
    seen = _seen(event, redaction)
    content = _remainder(record, "body")
    if event is not None:
        content = _content(event, seen) | {"body": decoded(seen.body[:most])}
    return _detail(record, content) | {"attempt_log": [_attempt(each, seen) for each in attempts]}


def _attempt(attempt: Attempt, seen: Redacted) -> dict[str, object]:
    took, answer = attempt.duration, attempt.answer
    return {
        "number": attempt.number,
        "at": rfc3339(attempt.at),
        "upstream": attempt.upstream,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "cause": attempt.cause,
        "duration_ms": None if took is None else round(took / timedelta(milliseconds=1), 3),
        "answer": None if answer is None else visible(seen.answer(decoded(answer)), lines=True),
    }


def _seen(event: Event | None, redaction: Redaction) -> Redacted:
    """Return an event's body as it is shown: with a mask in the place of each token, redacted."""
    return redaction.of(None if event is None else masked(event.body, event.tokens))


def shown_body(event: Event, redaction: Redaction = NOTHING) -> bytes:
    """Return the body as it is shown and exported."""
    return _seen(event, redaction).body


def exported_event(
    record: Record, event: Event | None, redaction: Redaction = NOTHING
) -> dict[str, object]:
    """Return everything about one event, as `event_detail`, with the body's bytes in Base64."""
    content = _remainder(record, "body_base64")
    if event is not None:
        seen = _seen(event, redaction)
        content = _content(event, seen) | {"body_base64": b64encode(seen.body).decode("ascii")}
    return _detail(record, content)


_REMOVED: Final = {
    Keep.HEADERS.value: "removed after delivery: keep: headers",
    Keep.NONE.value: "removed after delivery: keep: none",
    "erased": "erased at a person's request",
}


def why_gone(record: Record) -> str:
    """Return why there is no body of an event any more."""
    if record.damaged:
        return "damaged; the provider's next copy replaces it"
    if record.removed is not None:
        return _REMOVED.get(record.removed, record.removed)
    return "removed; see spool.retain, and spool.retain_keys for dead and held events"


def _remainder(record: Record, body: str) -> dict[str, object] | None:
    """Return the content of an event whose body alone was removed for good; else None.

    body: the name of what stands for its body.
    """
    if record.removed != Keep.HEADERS or record.remainder is None:
        return None
    return _content(record.remainder, Redacted(b"")) | {body: None}


def requeue_problem(event_id: str, done: Requeued) -> str:
    """Return why an event was not requeued, or not for all of its upstreams."""
    missing = [upstream for left, upstream in done.unserved if left == event_id]
    if event_id in done.damaged:
        return "it is damaged; the provider's next copy replaces it"
    if missing:
        names = " or ".join(f'"{name}"' for name in missing)
        return f"no upstream {names} is configured, and it would wait for ever; name it again"
    if event_id in done.removed:
        return "its content was removed for good, as keep or a person said; nothing can be sent"
    what = "only dead, held and delivered destinations of an event with a body can be requeued"
    return f"{what}; an event that has none can be sent to an upstream"


def parse_event_query(given: Mapping[str, str], now: datetime) -> Query:
    """Return the query that these filters mean now.

    Raises:
        ValueError: a filter is unknown or unreadable; the message says what to write.
    """
    _check_names(given, _EVENT_FILTERS)
    since, until = _time("since", given, now), _time("until", given, now)
    if since is not None and until is not None and since >= until:
        raise ValueError(f"since: {rfc3339(since)} is not before until, {rfc3339(until)}")
    return Query(
        status=_status(given.get("status")),
        endpoint=given.get("endpoint"),
        key=given.get("key"),
        find=_find(given),
        upstream=given.get("upstream"),
        since=since,
        until=until,
        limit=_limit(given.get("limit"), Query().limit),
        after=given.get("after"),
    )


def _content(event: Event, seen: Redacted) -> dict[str, object]:
    """Return what was received, without the body, which is shown as `seen`."""
    suffix = event.suffix.rstrip("?") if query_dropped(event.suffix) else event.suffix
    return {
        "environment": event.environment,
        "method": event.method,
        "suffix": seen.text(suffix),
        "headers": [[name, seen.text(value)] for name, value in event.headers],
        "signed": list(event.signed),
    }


def _detail(record: Record, content: dict[str, object] | None) -> dict[str, object]:
    return event_summary(record) | {
        "subject": record.subject,
        "client": record.client,
        "due_at": _optional_time(record.due_at),
        "settled_at": _optional_time(record.settled_at),
        "last_outcome": record.last_outcome,
        "reason": record.reason,
        "damaged": record.damaged,
        "removed": record.removed,
        "conflicts_with": record.conflicts_with,
        "repeats": record.repeats,
        "out_of_order": record.out_of_order,
        "query_dropped": record.query_dropped,
        "reconciled": record.reconciled,
        "content": content,
    }


def _status(text: str | None) -> Status | None:
    if text is None:
        return None
    try:
        return Status(text)
    except ValueError:
        raise ValueError(f'no status "{text}"; there are: {", ".join(Status)}') from None


# ---- refusals -------------------------------------------------------------------------------

_REFUSAL_FILTERS: Final = ("find", "endpoint", "reason", "released", "limit", "after")


def refusals_json(page: RefusalPage) -> dict[str, object]:
    """Return one page, the last stored first; `next` is handed back as `after` for the next one."""
    return {"refusals": [refusal_summary(stored) for stored in page.refusals], "next": page.next}


def refusal_summary(stored: StoredRefusal) -> dict[str, object]:
    """Return one line. `reason` is that of the last verification."""
    refused = stored.refused
    return {
        "id": refused.id,
        "endpoint": refused.endpoint,
        "provider": refused.provider,
        "reason": refused.reason.value,
        "detail": refused.detail,
        "client": str(refused.client.address),
        "signature_fits": refused.signature_fits,
        "secret": refused.secret,
        "references": [[name, text] for name, text in refused.references],
        "received_at": rfc3339(refused.head.received_at),
        "times": stored.times,
        "tried_at": _optional_time(stored.tried_at),
        "released_as": stored.released_as,
    }


def refusal_detail(
    stored: StoredRefusal, secrets: Iterable[Secret], redaction: Redaction = NOTHING
) -> dict[str, object]:
    """Return everything about one refusal; its content is null once it has been released.

    secrets: those that are configured; each stands as `***` in what is shown.

    The body is shown as text; bytes that are no UTF-8 are escaped. Of the target, only the path is
    shown: people put tokens into queries, and a release needs the query as it came.
    """
    refused = stored.refused
    seen = redaction.of(refused.body)
    mask = Mask([*secrets, *seen.secrets], refused.head.headers)
    content: dict[str, object] | None = None
    if stored.released_as is None:
        content = {
            "method": refused.head.method,
            "target": mask.whole(refused.head.path) + ("?…" if refused.head.query else ""),
            "headers": [[name, mask.whole(value)] for name, value in refused.head.headers],
            "body": mask.whole(decoded(seen.body)),
        }
    return refusal_summary(stored) | {
        "peer": str(refused.head.peer),
        "client_via": refused.client.via.value,
        "content": content,
    }


def release_json(refusal_id: str, result: ReleaseResult | None) -> dict[str, object]:
    """Return what came of releasing one refusal; None stands for an unknown id."""
    shown: dict[str, object] = {"id": refusal_id}
    if result is None:
        return shown | {"result": "unknown"}
    if isinstance(result, Released):
        revived: dict[str, object] = {"revived": True} if result.revived else {}
        kind = "duplicate" if result.duplicate else "released"
        return shown | {"result": kind, "event": result.event_id} | revived
    if isinstance(result, AlreadyReleased):
        return shown | {"result": "released_before", "event": result.event_id}
    return shown | {
        "result": "refused",
        "reason": result.reason.value,
        "detail": result.detail,
    }


def parse_refusal_query(given: Mapping[str, str]) -> RefusalQuery:
    """Return the query that these filters mean.

    Raises:
        ValueError: a filter is unknown or unreadable; the message says what to write.
    """
    _check_names(given, _REFUSAL_FILTERS)
    return RefusalQuery(
        find=_find(given),
        endpoint=given.get("endpoint"),
        reason=_reason(given.get("reason")),
        released=_released(given.get("released")),
        limit=_limit(given.get("limit"), RefusalQuery().limit),
        after=given.get("after"),
    )


def _released(text: str | None) -> bool | None:
    if text not in {None, "yes", "no"}:
        raise ValueError(f'released: "{text}" is neither yes nor no')
    return None if text is None else text == "yes"


def _reason(text: str | None) -> Reason | None:
    if text is None:
        return None
    try:
        return Reason(text)
    except ValueError:
        usual = ", ".join(sorted(RELEASABLE))
        raise ValueError(f'no reason "{text}"; what is kept usually has: {usual}') from None


# ---- strangers ------------------------------------------------------------------------------


def strangers_json(found: Iterable[Stranger]) -> dict[str, list[dict[str, object]]]:
    """Return strangers, in their order."""
    return {"strangers": [_stranger(each) for each in found]}


def _stranger(stranger: Stranger) -> dict[str, object]:
    return {
        "endpoint": stranger.endpoint,
        "network": stranger.network,
        "address": stranger.address,
        "path": stranger.path,
        "times": stranger.times,
        "first_at": rfc3339(stranger.first_at),
        "last_at": rfc3339(stranger.last_at),
        "signature_fits": stranger.signature_fits,
    }


def parse_stranger_query(given: Mapping[str, str]) -> StrangerQuery:
    """Return the query that these filters mean.

    Raises:
        ValueError: a filter is unknown or unreadable; the message says what to write.
    """
    _check_names(given, ("endpoint", "limit"))
    limit = _limit(given.get("limit"), StrangerQuery().limit)
    return StrangerQuery(given.get("endpoint"), limit)


# ---- allowlists -----------------------------------------------------------------------------


def entry_json(entry: "Entry") -> dict[str, object]:
    """Return one allowlist entry."""
    return {
        "network": str(entry.network),
        "origin": entry.origin,
        "host": entry.host,
        "first_seen": _optional_time(entry.first_seen),
        "last_seen": _optional_time(entry.last_seen),
    }


def source_json(status: "SourceStatus") -> dict[str, object]:
    """Return the state of one source of an allowlist."""
    return {
        "name": status.name,
        "addresses": status.addresses,
        "refreshed_at": _optional_time(status.refreshed_at),
        "last_error": status.last_error,
    }


def change_json(change: "AddressChange") -> dict[str, object]:
    """Return one change of a host's addresses."""
    return {
        "at": rfc3339(change.at),
        "host": change.host,
        "change": change.change.value,
        "address": str(change.address),
    }
