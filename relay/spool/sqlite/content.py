"""What an event, an attempt or a refusal says: read from its row, and sealed where keys are named.

A sealed event has its body, header fields and query under its key, and all that it is found by
readable. Its checksum is that of what is stored: damage is told without the key.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final

import orjson

from relay.core.errors import SpoolUnavailable
from relay.core.event import Event
from relay.core.request import Headers, Keep
from relay.core.sealing import NotAuthentic, SealingKey
from relay.spool.sealing import KeyMissing
from relay.spool.sqlite import events
from relay.spool.sqlite.events import Row
from relay.spool.sqlite.keyring import FindKey, Numbered

# ---- events ---------------------------------------------------------------------------------

#: Text as bytes: what is damaged may be no text any more.
EVENT: Final = (
    "CAST(id AS BLOB), endpoint, received_at, flags, CAST(conflicts_with AS BLOB), head, seal,"
    " sealed_by, body"
)

#: What differs in the row of a sealed event: head, checksum, number of the key, body.
Stored = tuple[bytes, bytes, int | None, bytes | None]


def event(row: Row, names: Mapping[int, str], upstream: int | None, find: FindKey) -> Event | None:
    """Return the event in a row of the columns `EVENT`; None when it is not what was stored.

    The body must be there. names: of endpoints and upstreams. upstream: which one it is for; None:
    it is not asked whether it is for any.

    Raises:
        KeyMissing: it is sealed with a key that is not named.
    """
    event_id, endpoint, received_at, flags, conflicts_with, head, checksum, sealed_by, body = row
    try:
        digest = sha256(body).digest()
        made = events.seal(
            event_id, received_at, flags, conflicts_with, head=head, body_sha256=digest
        )
        if made != checksum:
            return None
        parts = orjson.loads(head)
        if sealed_by is not None:
            whole = body or not flags & events.REMOVED
            parts, body = _opened(find(sealed_by), event_id, parts, body if whole else None)
        pointers = tuple(parts[events.POINTERS] or ()) if len(parts) > events.POINTERS else ()
        # The rows that lead here are under no checksum.
        wanted = parts[events.UPSTREAMS]
        if upstream is None:
            name = wanted[0] if wanted else ""
        elif (name := names.get(upstream)) not in wanted:
            return None
        if names.get(endpoint) != parts[events.ENDPOINT]:
            return None
        return Event(
            id=event_id.decode(),
            endpoint=parts[events.ENDPOINT],
            provider=parts[events.PROVIDER],
            environment=parts[events.ENVIRONMENT],
            upstream=name,
            key=parts[events.KEY],
            subject=parts[events.SUBJECT],
            method=parts[events.METHOD],
            suffix=parts[events.SUFFIX],
            headers=Headers(tuple([(name, value) for name, value in parts[events.HEADERS]])),
            client=ip_address(parts[events.CLIENT]),
            received_at=events.moment(received_at),
            signed=tuple(parts[events.SIGNED]),
            conflicts_with=None if conflicts_with is None else conflicts_with.decode(),
            out_of_order=bool(flags & events.OUT_OF_ORDER),
            body=body,
            reconciled=bool(flags & events.RECONCILED),
            confirm=bool(flags & events.CONFIRM),
            contradicts=bool(flags & events.CONTRADICTS),
            repeats=parts[events.REPEATS] if len(parts) > events.REPEATS else None,
            tokens=pointers if flags & events.TOKENS else (),
            redacted=() if flags & events.TOKENS else pointers,
            keep=Keep(parts[events.KEEP]) if len(parts) > events.KEEP else Keep.ALL,
        )
    except (TypeError, ValueError, AttributeError, LookupError, NotAuthentic):
        # A value of another type than was stored.
        return None


def event_or_missing(
    row: Row, names: Mapping[int, str], upstream: int, find: FindKey
) -> Event | KeyMissing | None:
    """Do as `event`, and return what is missing."""
    try:
        return event(row, names, upstream, find)
    except KeyMissing as missing:
        return missing


def stored(
    writes: Numbered | None,
    event_id: bytes,
    received_at: int,
    flags: int,
    conflicts_with: bytes | None,
    *,
    head: bytes,
    body: bytes | None,
) -> Stored:
    """Return what is stored of an event, sealed where there is a key that writes.

    body: None where it is not kept.
    """
    number = None
    if writes is not None:
        number, key = writes
        parts = orjson.loads(head)
        suffix, query = split_query(parts[events.SUFFIX])
        parts[events.SUFFIX] = suffix
        parts[events.HEADERS] = _hidden(key, b"event head", event_id, parts[events.HEADERS], query)
        head = events.head_of(tuple(parts))
        if body is not None:
            body = key.seal(body, _place(b"event body", event_id))
    digest = sha256(body or b"").digest()
    checksum = events.seal(
        event_id, received_at, flags, conflicts_with, head=head, body_sha256=digest
    )
    return head, checksum, number, body


def with_body(
    find: FindKey,
    sealed_by: int | None,
    event_id: bytes,
    body: bytes,
    change: Callable[[bytes], bytes],
) -> bytes | None:
    """Return a stored body changed, under the same key if any; None where it is damaged.

    Raises:
        KeyMissing: it is sealed with a key that is not named.
    """
    if sealed_by is None:
        return change(body)
    place = _place(b"event body", event_id)
    try:
        key = find(sealed_by)
        return key.seal(change(key.open(body, place)), place)
    except NotAuthentic:
        return None


def _opened(
    key: SealingKey, event_id: bytes, parts: list[Any], body: bytes | None
) -> tuple[list[Any], bytes]:
    """Return the parts of a sealed event's head as they were, and its body.

    body: None where it was removed; then it is empty.
    """
    fields, query = _shown(key, b"event head", event_id, parts[events.HEADERS])
    parts[events.HEADERS], parts[events.SUFFIX] = fields, parts[events.SUFFIX] + query
    return parts, b"" if body is None else key.open(body, _place(b"event body", event_id))


# ---- answers of attempts ----------------------------------------------------------------------


def sealed_answer(
    writes: Numbered, event_id: bytes, attempt: int, answer: bytes
) -> tuple[int, bytes]:
    """Return the number of the key, and the answer to an attempt of this event sealed with it."""
    number, key = writes
    return number, key.seal(answer, _place(b"attempt %d" % attempt, event_id))


def opened_answer(
    find: FindKey, sealed_by: int | None, event_id: bytes, attempt: int, answer: bytes | None
) -> bytes | None:
    """Return an answer as it was; None where it is damaged, or there is none.

    Raises:
        KeyMissing: it is sealed with a key that is not named.
    """
    if answer is None or sealed_by is None:
        return answer
    try:
        return find(sealed_by).open(answer, _place(b"attempt %d" % attempt, event_id))
    except NotAuthentic:
        return None


# ---- refusals ---------------------------------------------------------------------------------


def sealed_refusal(writes: Numbered, values: events.Parameters) -> events.Parameters:
    """Return the columns of a refusal, with its content sealed."""
    number, key = writes
    raw_id = str(values["id"]).encode()
    target, query = split_query(str(values["target"]))
    fields, body = orjson.loads(str(values["headers"])), values["body"]
    assert isinstance(body, bytes)  # noqa: S101 - as `refusals.parameters` makes it
    return values | {
        "target": target,
        "headers": _hidden(key, b"refusal head", raw_id, fields, query),
        "sealed_by": number,
        "body": key.seal(body, _place(b"refusal body", raw_id)),
    }


def opened_refusal(
    find: FindKey, values: Mapping[str, Any], body: bytes | None
) -> tuple[list[Any], str, bytes | None]:
    """Return header fields, target and body of a refusal; those of a damaged one are left out.

    Raises:
        KeyMissing: it is sealed with a key that is not named.
        SpoolUnavailable: its body is damaged.
    """
    headers, target, raw_id = values["headers"], values["target"], values["id"].encode()
    if values["sealed_by"] is None:
        return orjson.loads(headers), target, body
    try:
        key = find(values["sealed_by"])
        fields, query = _shown(key, b"refusal head", raw_id, headers)
        if body is not None:
            body = key.open(body, _place(b"refusal body", raw_id))
    except (NotAuthentic, ValueError):
        if body is None:
            # A list shows the others, and what can be read of this one.
            return [], target, None
        raise SpoolUnavailable(f"the refusal {values['id']} is damaged") from None
    return fields, target + query, body


# ---- header fields and a query, in one text ---------------------------------------------------


def split_query(target: str) -> tuple[str, str]:
    """Return a target, or the end of one, without its query; and the query with its mark.

    A mark alone, which stands for a query that was dropped, stays.
    """
    path, mark, query = target.partition("?")
    return (path, mark + query) if query else (target, "")


def _hidden(key: SealingKey, kind: bytes, row_id: bytes, fields: Sequence[Any], query: str) -> str:
    value = orjson.dumps([fields, query])
    return b64encode(key.seal(value, _place(kind, row_id))).decode()


def _shown(key: SealingKey, kind: bytes, row_id: bytes, hidden: str) -> tuple[list[Any], str]:
    fields, query = orjson.loads(key.open(b64decode(hidden), _place(kind, row_id)))
    return fields, query


def _place(kind: bytes, row_id: bytes) -> bytes:
    return b"%b %b" % (kind, row_id)
