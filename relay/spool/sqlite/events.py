"""Rows: digests, seal and head of an event; states, names, tallies and tokens of destinations."""

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b, sha256
from itertools import count
from typing import Any, Final

import apsw
import orjson

from relay.core.event import AttemptResult, Event, Lease, Status
from relay.core.request import Keep, VerifiedDelivery
from relay.spool.sqlite.keyring import Keyring

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


def moment(number: object) -> datetime:
    """Return the time that is so many microseconds after 1970, or the nearest there is."""
    return _EPOCH + min(max(number_of(number), _FIRST), _LAST) * _MICROSECOND


def number_of(raw: object) -> int:
    """Return what was stored as a number; 0 where damage has made it anything else."""
    return raw if isinstance(raw, int) else 0


def text_of(raw: object) -> str:
    """Return what was stored as text, as far as it can still be read."""
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)


# ---- flags ----------------------------------------------------------------------------------
# Bits of `events.flags`.

INITIAL: Final = 1
RECONCILED: Final = 2
CONFIRM: Final = 4
OUT_OF_ORDER: Final = 8
TEST_FLAG: Final = 16
#: Tokens stand in its body, and go once it is delivered.
TOKENS: Final = 32
#: Its content was removed for good: no copy brings it back. The head says why.
REMOVED: Final = 64
CONTRADICTS: Final = 128
PROXIED: Final = 256

#: What has one of these may not be for delivery (`copies.aside`).
ASIDE: Final = TEST_FLAG | CONTRADICTS

# ---- digests --------------------------------------------------------------------------------


class _Prefixed(dict[str, blake2b]):
    """For each endpoint a digest of one kind that holds already what comes before the text."""

    def __init__(self, kind: bytes, empty: blake2b) -> None:
        super().__init__()
        self._kind, self._empty = kind, empty

    def __missing__(self, endpoint: str) -> blake2b:
        name = endpoint.encode()
        digest = self._empty.copy()
        # The length keeps the end of one from counting as the start of the other.
        digest.update(b"%b %d %b" % (self._kind, len(name), name))
        self[endpoint] = digest
        return digest


class Digests:
    """Digests of what events are found by, keyed with the salt of one spool."""

    def __init__(self, salt: bytes) -> None:
        self._look = blake2b(digest_size=16, key=salt)
        number = blake2b(digest_size=8, key=salt)
        self._looks = _Prefixed(b"key", self._look)
        self._restated = _Prefixed(b"restated", self._look)
        self._subjects, self._keys = _Prefixed(b"subject", number), _Prefixed(b"key", number)

    def look(self, endpoint: str, key: str) -> bytes:
        """Return the digest of a key of an endpoint."""
        digest = self._looks[endpoint].copy()
        digest.update(key.encode())
        return digest.digest()

    def conflict(self, look: bytes, content: bytes) -> bytes:
        """Return the digest of a key together with content that is not its first."""
        digest = self._look.copy()
        digest.update(b"content " + look + content)
        return digest.digest()

    def restated(self, endpoint: str, replay: bytes) -> bytes:
        """Return the digest of what is the same for one event under several keys."""
        digest = self._restated[endpoint].copy()
        digest.update(replay)
        return digest.digest()

    def subject(self, endpoint: str, subject: str) -> int:
        """Return the digest of a subject as a number."""
        digest = self._subjects[endpoint].copy()
        digest.update(subject.encode())
        return int.from_bytes(digest.digest(), "big", signed=True)

    def lane(self, endpoint: str, subject: str | None, key: str) -> int:
        """Return the digest of what an event is kept in order by: its subject, or else its key."""
        if subject is not None:
            return self.subject(endpoint, subject)
        digest = self._keys[endpoint].copy()
        digest.update(key.encode())
        return int.from_bytes(digest.digest(), "big", signed=True)


def seal(
    event_id: bytes,
    received_at: int,
    flags: int,
    conflicts_with: bytes | None,
    *,
    head: bytes,
    body_sha256: bytes,
) -> bytes:
    """Return the checksum of everything that an upstream is sent.

    It is stored for as long as the event, so its format can only be changed with a migration.
    """
    # Of a digest that is there already: most of an event is its body.
    values = (received_at, flags, event_id, conflicts_with or b"-", body_sha256, head)
    return sha256(b"event 5 %d %d %b %b %b %b" % values).digest()[:16]


# ---- heads ----------------------------------------------------------------------------------
# What is stored of an event besides its body, as a JSON array. The last one is for the ids that
# people search by: [[name, text], ...].

ENDPOINT, UPSTREAMS, PROVIDER, ENVIRONMENT, KEY, SUBJECT = range(6)
METHOD, SUFFIX, HEADERS, CLIENT, SIGNED, REFERENCES = range(6, 12)
#: The event that it repeats, where tokens stand in its body, or stood, and what is kept of it once
#: it is delivered; few have any of these.
REPEATS, POINTERS, KEEP = 12, 13, 14


def head_parts(event: VerifiedDelivery) -> tuple[Any, ...]:
    """Return what the head of a delivery holds: texts and tuples of texts."""
    delivery, verification = event.delivery, event.verification
    more: tuple[Any, ...] = ()
    pointers = verification.tokens or verification.redacted
    if pointers or event.keep is not Keep.ALL:
        more = (None, pointers, event.keep)
    return (
        delivery.endpoint,
        event.upstreams,
        event.provider,
        event.environment,
        verification.key,
        verification.subject,
        delivery.head.method,
        delivery.suffix,
        event.headers.fields,
        delivery.client.text,
        event.signed if verification.ambiguous else verification.signed,
        verification.references,
        *more,
    )


def head_of(parts: tuple[Any, ...]) -> bytes:
    """Return a head that holds these.

    Raises:
        ValueError: a text holds half a surrogate pair, and could not be stored.
    """
    try:
        return orjson.dumps(parts)
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


def upstreams_in(parts: Sequence[object]) -> list[str]:
    """Return the upstreams that the parts of a head name: where its event lies; none: nowhere."""
    named = parts[UPSTREAMS]
    return [str(name) for name in named] if isinstance(named, list) else [""]


# ---- leases and outcomes --------------------------------------------------------------------


def lease(
    leased: Event, attempts: int, earlier: int, since: int, *, until: datetime, token: int
) -> Lease:
    """Return the lease of an event that has been tried `attempts` times, this one included."""
    return Lease(leased, attempts, attempts - earlier, moment(since), until, token=token)


def outcome_text(outcome: AttemptResult) -> str:
    """Return an outcome as `Record.last_outcome` has it."""
    return f"{outcome.name} {outcome.cause if outcome.status is None else outcome.status}"


# ---- states ---------------------------------------------------------------------------------
# Of destinations. Unfinished ones are negative; those of `settled` that stay are above PASSED.

PENDING, LEASED = -2, -1
DELIVERED, PASSED, DEAD, HELD, TEST = range(1, 6)

#: In the order of urgency: that of an event is the first one of its destinations.
STATUSES: Final[Mapping[int, Status]] = {
    DEAD: Status.DEAD,
    HELD: Status.HELD,
    LEASED: Status.LEASED,
    PENDING: Status.PENDING,
    DELIVERED: Status.DELIVERED,
    PASSED: Status.PASSED,
    TEST: Status.TEST,
}
STATES: Final[Mapping[Status, int]] = {status: state for state, status in STATUSES.items()}

#: The places of the queue: it is claimed, waits for its time, waits for an earlier event.
READY, WAITING, BEHIND = range(3)

# ---- names ----------------------------------------------------------------------------------

UNORDERED, ORDERED, BECOMING_ORDERED = range(3)

_READ: Final = "SELECT id, name, ordered FROM names"
# Another number when another connection has written since.
_VERSION: Final = "PRAGMA data_version"
_ADD: Final = "INSERT INTO names (name) VALUES (?) RETURNING id"
_ORDER: Final = "UPDATE names SET ordered = ? WHERE id = ?"


def read_names(connection: apsw.Connection) -> dict[int, str]:
    """Return the names of endpoints and upstreams by number."""
    return {number: str(name) for number, name, _ in fetch(connection, _READ)}


class Names:
    """Endpoints and upstreams as numbers, as one transaction sees them.

    They are remembered from one transaction to the next where that is committed and no other
    process has written in between. `newest` is the number of the last event; None: not read yet.
    """

    def __init__(self) -> None:
        self.newest: int | None = None
        self._version: int | None = None
        self._reading: int | None = None
        self.by_number: dict[int, str] = {}
        self.by_name: dict[str, int] = {}
        self._ordered: dict[int, int] = {}

    def refresh(self, connection: apsw.Connection) -> None:
        """Read them if they may have changed; call it at the start of each transaction."""
        [(self._reading,)] = fetch(connection, _VERSION)
        if self._reading != self._version:
            self.read(connection)
        self._version = None

    def committed(self) -> None:
        """Remember what this transaction has read and added."""
        self._version = self._reading

    def read(self, connection: apsw.Connection) -> None:
        """Read them again: what has been added may have been undone."""
        self.newest = None
        rows = fetch(connection, _READ)
        self.by_number = {number: name for number, name, _ in rows}
        self.by_name = {name: number for number, name, _ in rows}
        self._ordered = {number: ordered for number, _, ordered in rows}

    def number(self, connection: apsw.Connection, name: str) -> int:
        """Return the number of a name, which is added when it is new."""
        found = self.by_name.get(name)
        if found is None:
            [(found,)] = fetch(connection, _ADD, (name,))
            self.by_number[found], self.by_name[name] = name, found
            self._ordered[found] = UNORDERED
        return found

    def order(self, upstream: int) -> int:
        """Return whether this upstream is served in order, or up to where it can be."""
        return self._ordered.get(upstream, UNORDERED)

    def set_order(self, connection: apsw.Connection, upstream: int, ordered: int) -> None:
        """Write down what `order` returns."""
        connection.execute(_ORDER, (ordered, upstream))
        self._ordered[upstream] = ordered


# ---- tallies --------------------------------------------------------------------------------

_TALLY: Final = """
INSERT INTO tallies VALUES (?1, ?2, ?3)
ON CONFLICT (endpoint, status) DO UPDATE SET deliveries = deliveries + ?3
"""

# A join, so that an event counts as often as it is named.
_ENDPOINTS: Final = """
SELECT endpoint, count(*) FROM carray(?) AS named CROSS JOIN events ON seq = named.value
GROUP BY endpoint
"""


class Tally:
    """Changes of the numbers of destinations by endpoint and state, written together."""

    def __init__(self) -> None:
        self._changes: dict[tuple[int, int], int] = {}

    def add(self, endpoint: int, state: int, number: int = 1) -> None:
        """Count so many more of this state."""
        at = (endpoint, state)
        self._changes[at] = self._changes.get(at, 0) + number

    def move(self, endpoint: int, before: int, after: int, number: int = 1) -> None:
        """Count so many fewer of one state and so many more of another."""
        self.add(endpoint, before, -number)
        self.add(endpoint, after, number)

    def move_all(
        self, connection: apsw.Connection, seqs: Sequence[int], before: int, after: int
    ) -> None:
        """Do as `move` with a destination for each time that an event is named."""
        if seqs:
            for endpoint, number in fetch(connection, _ENDPOINTS, (numbers(seqs),)):
                self.move(endpoint, before, after, number)

    def write(self, connection: apsw.Connection) -> None:
        """Add the changes to the table."""
        changed = [(*at, number) for at, number in self._changes.items() if number]
        if changed:
            connection.executemany(_TALLY, changed)


# ---- the rest -------------------------------------------------------------------------------

_SALT: Final = "SELECT salt FROM salt"


@dataclass(frozen=True, slots=True)
class Tables:
    """What statements of one spool need. masked: events of which the log may hold tokens still."""

    names: Names
    digests: Digests
    tokens: "Tokens"
    masked: set[int] = field(default_factory=set)
    keyring: Keyring = field(default_factory=Keyring)


def open_tables(connection: apsw.Connection) -> Tables:
    """Return them for the spool on this connection."""
    [(salt,)] = fetch(connection, _SALT)
    return Tables(Names(), Digests(salt), Tokens())


class Tokens:
    """Numbers that leases are told apart by: of no two leases the same, in any process."""

    def __init__(self) -> None:
        self._base = int.from_bytes(os.urandom(4), "big") >> 1 << 32
        self._count = count(1)

    def next(self) -> int:
        """Return the next one. Several threads may call it."""
        return self._base + next(self._count)


def numbers(given: Iterable[int]) -> "apsw.CArrayBinding":
    """Return numbers, at least one, to be bound to `carray(?)`."""
    return apsw.carray(array("q", given))
