"""Kept refusals as people and scripts see them: one shape for command line and admin API."""

from collections.abc import Iterable, Mapping

from relay.errors import Reason
from relay.history import rfc3339
from relay.kept import MENDABLE, Kept, RefusalPage, RefusalQuery
from relay.masking import Mask
from relay.refusals.desk import Released, ReleasedBefore, Result
from relay.secret import Secret

#: The most refusals that one page holds.
MAX_LIMIT = 1000

_FILTERS = ("endpoint", "reason", "limit", "after")


def page_json(page: RefusalPage) -> dict[str, object]:
    """Return one page, the last kept first; `next` is handed back as `after` for the next one."""
    return {"refusals": [summary(kept) for kept in page.kept], "next": page.next}


def summary(kept: Kept) -> dict[str, object]:
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


def detail(kept: Kept, secrets: Iterable[Secret]) -> dict[str, object]:
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
    return summary(kept) | {
        "peer": str(refused.head.peer),
        "client_via": refused.client.via.value,
        "content": content,
    }


def result_json(refusal_id: str, result: Result | None) -> dict[str, object]:
    """Return what came of releasing one; None is a refusal that nobody knows."""
    told: dict[str, object] = {"id": refusal_id}
    if result is None:
        return told | {"result": "unknown"}
    if isinstance(result, Released):
        return told | {
            "result": "duplicate" if result.duplicate else "released",
            "event": result.event_id,
        }
    if isinstance(result, ReleasedBefore):
        return told | {"result": "released_before", "event": result.event_id}
    return told | {
        "result": "refused",
        "reason": result.reason.value,
        "detail": result.detail,
    }


def parse_query(given: Mapping[str, str]) -> RefusalQuery:
    """Return the query that these filters mean.

    Raises:
        ValueError: a filter is unknown or unreadable; the message says what to write.
    """
    for name in given:
        if name not in _FILTERS:
            raise ValueError(f'no filter "{name}"; there are: {", ".join(_FILTERS)}')
    return RefusalQuery(
        endpoint=given.get("endpoint"),
        reason=_reason(given.get("reason")),
        limit=_limit(given.get("limit")),
        after=given.get("after"),
    )


def _reason(text: str | None) -> Reason | None:
    if text is None:
        return None
    try:
        return Reason(text)
    except ValueError:
        usual = ", ".join(sorted(MENDABLE))
        raise ValueError(f'no reason "{text}"; what is kept usually has: {usual}') from None


def _limit(text: str | None) -> int:
    if text is None:
        return RefusalQuery().limit
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f'limit: "{text}" is not a number from 1 to {MAX_LIMIT}')
    return int(text)
