"""Event rows: digests, seal and head, and the events and leases that are read from rows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any, Final

import apsw
import orjson

from relay.core.event import (
    AttemptResult,
    Delivered,
    Event,
    Lease,
    Rejected,
    Unconfirmed,
    Unreachable,
)
from relay.core.request import Headers, VerifiedDelivery

# ---- values ---------------------------------------------------------------------------------

SQLiteValue = str | int | float | bytes | None

# The columns' types are checked by the table: it is STRICT.
Row = tuple[Any, ...]
Parameters = dict[str, SQLiteValue]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


#: Before every time that is stored.
EARLIEST: Final = -(2**62)


def fetch(
    connection: apsw.Connection,
    statement: str,
    values: Sequence[Any] | Mapping[str, SQLiteValue] = (),
) -> list[Row]:
    """Return every row; a statement that changes something has done so entirely."""
    return connection.execute(statement, values).fetchall()


def micros(time: datetime) -> int:
    """Return microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def moment(number: int) -> datetime:
    """Return the time that is so many microseconds after 1970, or the nearest there is."""
    return _EPOCH + min(max(number, _FIRST), _LAST) * _MICROSECOND


# ---- flags ----------------------------------------------------------------------------------
# Bits of `events.flags`. 32 and 64 say what is kept of an event once it is delivered.

INITIAL: Final = 1
RECONCILED: Final = 2
CONFIRM: Final = 4
OUT_OF_ORDER: Final = 8
TEST: Final = 16
PROXIED: Final = 256

# ---- digests --------------------------------------------------------------------------------


class Digests:
    """Digests of what events are found by, keyed with the salt of one spool."""

    def __init__(self, salt: bytes) -> None:
        self._look = blake2b(digest_size=16, key=salt)
        self._hash = blake2b(digest_size=8, key=salt)

    def look(self, endpoint: str, key: str) -> bytes:
        """Return the digest of a key of an endpoint."""
        digest = self._look.copy()
        digest.update(_pair(b"key", endpoint, key.encode()))
        return digest.digest()

    def conflict(self, look: bytes, content: bytes) -> bytes:
        """Return the digest of a key together with content that is not its first."""
        digest = self._look.copy()
        digest.update(b"content " + look + content)
        return digest.digest()

    def restated(self, endpoint: str, replay: bytes) -> bytes:
        """Return the digest of what is the same for one event under several keys."""
        digest = self._look.copy()
        digest.update(_pair(b"restated", endpoint, replay))
        return digest.digest()

    def subject(self, endpoint: str, subject: str) -> int:
        """Return the digest of a subject as a number."""
        return self._number(_pair(b"subject", endpoint, subject.encode()))

    def lane(self, endpoint: str, subject: str | None, key: str) -> int:
        """Return the digest of what an event is kept in order by: its subject, or else its key."""
        if subject is not None:
            return self.subject(endpoint, subject)
        return self._number(_pair(b"key", endpoint, key.encode()))

    def _number(self, text: bytes) -> int:
        digest = self._hash.copy()
        digest.update(text)
        return int.from_bytes(digest.digest(), "big", signed=True)


def _pair(kind: bytes, endpoint: str, text: bytes) -> bytes:
    # The length keeps the end of one from counting as the start of the other.
    name = endpoint.encode()
    return b"%b %d %b%b" % (kind, len(name), name, text)


def seal(
    event_id: bytes,
    received_at: int,
    flags: int,
    conflicts_with: bytes | None,
    *,
    head: bytes,
    body: bytes,
) -> bytes:
    """Return the checksum of everything that an upstream is sent.

    It is stored for as long as the event, so its format can only be changed with a migration.
    """
    digest = blake2b(body, digest_size=16)
    digest.update(
        b"event 5 %d %d %d %b %b %d %b"
        % (
            len(body),
            received_at,
            flags,
            event_id,
            conflicts_with or b"-",
            len(head),
            head,
        )
    )
    return digest.digest()


# ---- heads ----------------------------------------------------------------------------------
# What is stored of an event besides its body, as a JSON array. The last one is for the ids that
# people search by: [[name, text], ...].

ENDPOINT, UPSTREAMS, PROVIDER, ENVIRONMENT, KEY, SUBJECT = range(6)
METHOD, SUFFIX, HEADERS, CLIENT, SIGNED, REFERENCES = range(6, 12)


def head_of(event: VerifiedDelivery) -> bytes:
    """Return the head of a delivery.

    Raises:
        ValueError: a text holds half a surrogate pair, and could not be stored.
    """
    delivery, verification = event.delivery, event.verification
    try:
        return orjson.dumps(
            (
                delivery.endpoint,
                (event.upstream,),
                event.provider,
                event.environment,
                verification.key,
                verification.subject,
                delivery.head.method,
                event.suffix,
                tuple(event.headers),
                str(delivery.client.address),
                event.signed,
                (),
            )
        )
    except TypeError as error:
        raise ValueError(str(error)) from None


def parse_head(raw: object) -> list[Any]:
    """Return the parts of a head, for showing; what is damaged beyond reading is blank."""
    if isinstance(raw, bytes):
        for text in (raw, raw.decode(errors="replace")):
            try:
                parts = orjson.loads(text)
            except ValueError:
                continue
            if isinstance(parts, list) and len(parts) > REFERENCES:
                return parts
    return ["", [""], "", "", "", None, "", "", [], "", [], []]


# ---- events ---------------------------------------------------------------------------------

#: Text as bytes: what is damaged may be no text any more.
EVENT: Final = (
    "CAST(id AS BLOB), endpoint, received_at, flags, CAST(conflicts_with AS BLOB), head, seal, body"
)


def event(row: Row, names: Mapping[int, str], upstream: int) -> Event | None:
    """Return the event in a row of the columns `EVENT`; None when it is not what was stored.

    The body must be there. names: of endpoints and upstreams.
    """
    event_id, endpoint, received_at, flags, conflicts_with, head, checksum, body = row
    try:
        if seal(event_id, received_at, flags, conflicts_with, head=head, body=body) != checksum:
            return None
        parts = orjson.loads(head)
        # The rows that lead here are under no checksum.
        if names.get(endpoint) != parts[ENDPOINT] or names.get(upstream) not in parts[UPSTREAMS]:
            return None
        return Event(
            id=event_id.decode(),
            endpoint=parts[ENDPOINT],
            provider=parts[PROVIDER],
            environment=parts[ENVIRONMENT],
            upstream=names[upstream],
            key=parts[KEY],
            subject=parts[SUBJECT],
            method=parts[METHOD],
            suffix=parts[SUFFIX],
            headers=Headers(tuple([(name, value) for name, value in parts[HEADERS]])),
            client=ip_address(parts[CLIENT]),
            received_at=moment(received_at),
            signed=tuple(parts[SIGNED]),
            conflicts_with=None if conflicts_with is None else conflicts_with.decode(),
            out_of_order=bool(flags & OUT_OF_ORDER),
            body=body,
            reconciled=bool(flags & RECONCILED),
            confirm=bool(flags & CONFIRM),
        )
    except (TypeError, ValueError, AttributeError, LookupError):
        # A value of another type than was stored.
        return None


def lease(
    leased: Event, attempts: int, earlier: int, since: int, *, until: datetime, token: int
) -> Lease:
    """Return the lease of an event that has been tried `attempts` times, this one included."""
    return Lease(leased, attempts, attempts - earlier, moment(since), until, token=token)


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
