"""Event rows: columns, checksums, insert-or-duplicate, and the record of a proxied delivery."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from itertools import compress
from operator import itemgetter
from typing import Any, Final

import apsw
import orjson

from relay.core.event import (
    AttemptResult,
    Delivered,
    Event,
    Lease,
    ProxiedDelivery,
    Rejected,
    Status,
    Unconfirmed,
    Unreachable,
    event_of,
)
from relay.core.request import Headers, VerifiedDelivery
from relay.spool import Conflict, Duplicate, Record, Stored

# ---- checksums ------------------------------------------------------------------------------
# A checksum covers what an upstream is sent: the sealed columns and the body. It is stored for as
# long as the event, so its format can only be changed together with a migration.

Field = str | int | float | bytes | None

_VERSION: Final = b"event 1\n"


def digest(fields: Sequence[Field]) -> str:
    """Return a digest of these fields, at least one, in hexadecimal; no other fields have it.

    The last one may be long: where it is bytes, it is hashed as it is.

    Raises:
        ValueError: a text holds half a surrogate pair, and could not be stored.
    """
    *others, last = fields
    try:
        head = orjson.dumps(others, default=_marked)
        tail = last if isinstance(last, bytes) else orjson.dumps(last)
    except TypeError as error:
        raise ValueError(str(error)) from None
    kind = b"raw" if isinstance(last, bytes) else b"json"
    # The length keeps bytes of one from counting as part of the other.
    return sha256(b"%b%d %b %b%b" % (_VERSION, len(head), kind, head, tail)).hexdigest()


def seal(received: str, conflicts_with: str | None, out_of_order: int) -> str:
    """Return the checksum, as the statement that stores an event composes it.

    received: the digest of what came from outside. The rest is decided by that statement, which can
        put values in a row but cannot hash: so they are part of the checksum in clear, to be
        compared.
    """
    return f"{received} {out_of_order} {conflicts_with or ''}"


def _marked(raw: bytes) -> dict[str, str]:
    # No column holds bytes but the last one; damage can put them into another.
    return {"bytes": raw.hex()}


# ---- rows -----------------------------------------------------------------------------------

SQLiteValue = str | int | float | bytes | None

# The columns' types are checked by the table: it is STRICT.
Row = tuple[Any, ...]
Parameters = dict[str, SQLiteValue]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

# What the checksum covers, in this order; `body` comes last, as in the table.
_SEALED: Final = (
    "id",
    "endpoint",
    "provider",
    "environment",
    "upstream",
    "key",
    "subject",
    "method",
    "suffix",
    "headers",
    "client",
    "received_at",
    "signed",
    "body",
)

_sealed: Final = itemgetter(*_SEALED)

# Flags that the checksum covers besides: by name, where they are set.
_FLAGS: Final = ("reconciled", "confirm")

EVENT: Final = ", ".join((*_SEALED, "conflicts_with", "out_of_order", "checksum", *_FLAGS))

_TEST: Final[Parameters] = {
    "status": Status.TEST,
    "place": None,
    "attempts": 0,
    "due_at": None,
    "lease_until": None,
}
_READY: Final[Parameters] = {
    "status": Status.PENDING,
    "place": "ready",
    "attempts": 0,
    "lease_until": None,
}
_LEASED: Final[Parameters] = {"status": Status.LEASED, "place": None, "attempts": 1}

# History is shown even where it is damaged: text as bytes, since not all bytes are text.
RECORD: Final = """
    CAST(id AS BLOB), CAST(endpoint AS BLOB), CAST(provider AS BLOB), CAST(status AS BLOB),
    CAST(key AS BLOB), CAST(subject AS BLOB), CAST(upstream AS BLOB), CAST(last_outcome AS BLOB),
    CAST(conflicts_with AS BLOB), CAST(client AS BLOB),
    received_at, due_at, settled_at, attempts, out_of_order, reconciled
"""


def fetch(
    connection: apsw.Connection,
    statement: str,
    values: Sequence[SQLiteValue] | Mapping[str, SQLiteValue],
) -> list[Row]:
    """Return every row; a statement that changes rows has run to its end."""
    return connection.execute(statement, values).fetchall()


def micros(time: datetime) -> int:
    """Return microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def moment(number: int) -> datetime:
    """Return the time so many microseconds after 1970, or the nearest that can be represented."""
    return _EPOCH + min(max(number, _FIRST), _LAST) * _MICROSECOND


def parameters(event: VerifiedDelivery, now: datetime, until: datetime | None) -> Parameters:
    """Return the values of an `INSERT`: every column, and `refuse`.

    until: the end of the lease under which it is stored; None to store it as ready.
    """
    verification = event.verification
    row = _received(event)
    row["content"] = verification.content
    row["restated"] = verification.replay_digest
    row["refuse"] = verification.on_conflict == "refuse"
    row["since"] = micros(now)
    if verification.test:
        row.update(_TEST)
    elif until is None:
        row.update(_READY, due_at=row["since"])
    else:
        row.update(_LEASED, due_at=row["since"], lease_until=micros(until))
    return row


def proxied_parameters(passed: ProxiedDelivery) -> Parameters:
    """Return the values of an `INSERT` of a delivery that was passed on."""
    received = _received(passed.delivery)
    return received | {
        "checksum": seal(str(received["digest"]), None, 0),
        # Instead of its content: no two are the same event, and none is one that `put` stores.
        "content": passed.delivery.event_id.encode(),
        "settled_at": micros(passed.at),
        "outcome": outcome_text(passed.outcome),
    }


def _received(event: VerifiedDelivery) -> Parameters:
    """Return the columns that come from outside, and their digest."""
    delivery, verification = event.delivery, event.verification
    row: Parameters = {
        "id": event.event_id,
        "endpoint": delivery.endpoint,
        "provider": event.provider,
        "environment": event.environment,
        "upstream": event.upstream,
        "key": verification.key,
        "subject": verification.subject,
        "method": delivery.head.method,
        "suffix": event.suffix,
        "headers": orjson.dumps(list(event.headers)).decode(),
        "client": str(delivery.client.address),
        "received_at": micros(delivery.head.received_at),
        "signed": orjson.dumps(event.signed).decode(),
        "body": delivery.body,
    }
    row["digest"] = _digest(_sealed(row), (event.reconciled, event.confirm))
    row["reconciled"] = event.reconciled
    row["confirm"] = event.confirm
    row["opening"] = verification.is_initial
    return row


def event(row: Row) -> Event | None:
    """Return the event in a row of the columns `EVENT`; None when its checksum does not match.

    The body must be there.
    """
    sealed = row[: len(_SEALED)]
    conflicts_with, out_of_order, checksum, *flags = row[len(_SEALED) :]
    if seal(_digest(sealed, flags), conflicts_with, out_of_order) != checksum:
        return None
    values = dict(zip(_SEALED, sealed, strict=True))
    reconciled, confirm = flags
    return Event(
        id=values["id"],
        endpoint=values["endpoint"],
        provider=values["provider"],
        environment=values["environment"],
        upstream=values["upstream"],
        key=values["key"],
        subject=values["subject"],
        method=values["method"],
        suffix=values["suffix"],
        headers=Headers(tuple((name, value) for name, value in orjson.loads(values["headers"]))),
        client=ip_address(values["client"]),
        received_at=moment(values["received_at"]),
        signed=tuple(orjson.loads(values["signed"])),
        conflicts_with=conflicts_with,
        out_of_order=bool(out_of_order),
        body=values["body"],
        reconciled=bool(reconciled),
        confirm=bool(confirm),
    )


def _digest(sealed: Row, flags: Sequence[SQLiteValue]) -> str:
    return digest((*compress(_FLAGS, flags), *sealed))


def first_lease(
    delivery: VerifiedDelivery, stored: Stored, now: datetime, until: datetime
) -> Lease:
    """Return the lease under which an event has just been stored, equal to one that is read."""
    leased = event_of(
        delivery, conflicts_with=stored.conflicts_with, out_of_order=stored.out_of_order
    )
    return lease(leased, 1, 0, micros(now), moment(micros(until)))


def lease(leased: Event, attempts: int, earlier: int, since: int, until: datetime) -> Lease:
    """Return the lease of an event with this number of attempts, the leased one included."""
    return Lease(leased, attempts, attempts - earlier, moment(since), until)


def record(row: Row) -> Record:
    """Return the history in a row of the columns `RECORD`."""
    text: Row = tuple(None if raw is None else raw.decode(errors="replace") for raw in row[:10])
    event_id, endpoint, provider, status, key, subject, upstream, outcome, conflict, client = text
    received_at, due_at, settled_at, attempts, out_of_order, reconciled = row[10:]
    return Record(
        id=event_id,
        endpoint=endpoint,
        provider=provider,
        status=_status(status),
        key=key,
        subject=subject,
        received_at=moment(received_at),
        attempts=attempts,
        upstream=upstream,
        due_at=None if due_at is None else moment(due_at),
        settled_at=None if settled_at is None else moment(settled_at),
        last_outcome=outcome,
        conflicts_with=conflict,
        out_of_order=bool(out_of_order),
        client=client,
        reconciled=bool(reconciled),
    )


def outcome_text(outcome: AttemptResult) -> str:
    """Return an outcome as `Record.last_outcome` has it."""
    match outcome:
        case Delivered(status):
            return f"delivered {status}"
        case Rejected(status):
            return f"rejected {status}"
        case Unreachable(cause):
            return f"unreachable {cause}"
        case Unconfirmed(cause):
            return f"unconfirmed {cause}"


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        # No statement selects a damaged status: the event will never be delivered.
        return Status.DEAD


# ---- storing --------------------------------------------------------------------------------

# One statement decides and stores, so nothing can come between: a copy, an event of the same key
# with other content, and a later state of the same subject are all seen as of the insert.
# The LIMIT keeps SQLite from repeating a look-up wherever its result is used.
_PUT: Final = """
INSERT INTO events (
    id, endpoint, provider, environment, upstream, key, content, restated, subject, opening,
    method, suffix, headers, client, received_at, signed, conflicts_with, out_of_order, status,
    place, attempts, since, due_at, lease_until, checksum, body, reconciled, confirm
)
SELECT
    :id, :endpoint, :provider, :environment, :upstream, :key, :content, :restated, :subject,
    :opening, :method, :suffix, :headers, :client, :received_at, :signed, known.id, known.later,
    :status, :place, :attempts, :since, :due_at, :lease_until,
    :digest || ' ' || known.later || ' ' || ifnull(known.id, ''),
    :body, :reconciled, :confirm
FROM (
    SELECT
        (
            SELECT id FROM events WHERE seq = (
                SELECT min(seq) FROM events
                WHERE key = :key AND endpoint = :endpoint AND content <> :content
                    AND status <> 'passed'
            )
        ) AS id,
        :opening AND EXISTS (
            SELECT 1 FROM events
            WHERE endpoint = :endpoint AND subject = :subject AND opening = 0
                AND status <> 'passed'
        ) AS later
    LIMIT 1
) AS known
WHERE NOT (:refuse AND known.id IS NOT NULL)
    AND NOT EXISTS (
        SELECT 1 FROM events
        WHERE key = :key AND endpoint = :endpoint AND (:reconciled OR reconciled)
            AND status <> 'passed'
    )
ON CONFLICT (key, endpoint, content) DO NOTHING
ON CONFLICT (endpoint, restated) WHERE restated IS NOT NULL DO NOTHING
RETURNING conflicts_with, out_of_order
"""

_KNOWN: Final = """
SELECT id, (content = :content OR :reconciled OR reconciled) AS same FROM events
WHERE key = :key AND endpoint = :endpoint AND status <> 'passed'
ORDER BY same DESC, seq LIMIT 1
"""

_RESTATED: Final = """
SELECT id FROM events WHERE endpoint = :endpoint AND restated = :restated
"""

_RECORD: Final = """
INSERT INTO events (
    id, endpoint, provider, environment, upstream, key, content, subject, opening, method, suffix,
    headers, client, received_at, signed, out_of_order, status, attempts, since, settled_at,
    last_outcome, checksum, body, confirm
)
VALUES (
    :id, :endpoint, :provider, :environment, :upstream, :key, :content, :subject, :opening,
    :method, :suffix, :headers, :client, :received_at, :signed, 0, 'passed', 1, :received_at,
    :settled_at, :outcome, :checksum, :body, :confirm
)
ON CONFLICT DO NOTHING
"""


def put(connection: apsw.Connection, row: Parameters) -> Stored | Duplicate | Conflict:
    """Store the event of these `parameters`, or return the event that it equals or contradicts."""
    for conflicts_with, out_of_order in fetch(connection, _PUT, row):
        return Stored(str(row["id"]), conflicts_with, bool(out_of_order))
    for event_id, same in fetch(connection, _KNOWN, row):
        if same:
            return Duplicate(event_id)
        if row["refuse"]:
            return Conflict(event_id)
    [(event_id,)] = fetch(connection, _RESTATED, row)
    return Duplicate(event_id)


def record_proxied(connection: apsw.Connection, passed: Sequence[Parameters]) -> None:
    """Store each of these `proxied_parameters`, unless it is there already; all or none."""
    with connection:
        connection.executemany(_RECORD, passed)
