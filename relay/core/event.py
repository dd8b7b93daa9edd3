"""The types that travel: one delivery on its way in, one event on its way out.

All are frozen. A later type is evidence that an earlier step has happened: the spool takes a
`VerifiedDelivery`, and only `relay.ingest` builds one.
"""

from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from relay.errors import Reason
from relay.frozen import frozen
from relay.headers import Headers as Headers  # noqa: PLC0414 - it travels with the rest

Address = IPv4Address | IPv6Address

# ---- inbound --------------------------------------------------------------------------------


class Via(StrEnum):
    """How the client address was found."""

    PEER = "peer"
    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"
    PROXY = "proxy"


@frozen
class RequestHead:
    """A request before its body is read. `target` is the raw request target, undecoded.

    via: PROXY when a PROXY header named the peer, PEER when it is the socket's.
    forwards: False when the peer has said that it speaks for nobody but itself; what it forwards
        then names no client.
    """

    method: str
    target: str
    headers: Headers
    peer: Address
    received_at: datetime
    via: Via = Via.PEER
    forwards: bool = True

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query with its question mark, or an empty string when there is none."""
        _, mark, query = self.target.partition("?")
        return mark + query


@frozen
class ClientAddress:
    """Who is calling, after trusted proxies."""

    address: Address
    via: Via


@frozen
class Delivery:
    """One whole request from a provider. `remainder` is the path below a prefix endpoint."""

    endpoint: str
    head: RequestHead
    client: ClientAddress
    remainder: str
    body: bytes


class OnConflict(StrEnum):
    """What becomes of a delivery whose event key is known with other content."""

    DELIVER = "deliver"
    REFUSE = "refuse"


@frozen
class Evidence:
    """What a provider's inspector found in a delivery that it accepts.

    key: what makes the event unique on its endpoint.
    content: SHA-256 of what the body says, the same for bodies that parse alike.
    restated: SHA-256 of what the provider says alike under each key; None where there is but one.
    signed: what the signature covers: `("body",)`, or the covered field names. Empty when unsigned,
        and under a token, which proves who sends and covers nothing of what is sent.
    ambiguous: the covered fields could have been split otherwise under the same signature.
    secret: position of the secret that matched, counted from 0; None when none was asked for.
    subject: the transaction, payment or account that the event is about; orders events.
    opening: the event announces its subject; after a later state it is out of order.
    test: a test message from the provider's dashboard: kept, not delivered.
    """

    key: str
    content: bytes
    restated: bytes | None = None
    signed: tuple[str, ...] = ()
    ambiguous: bool = False
    secret: int | None = None
    subject: str | None = None
    opening: bool = False
    test: bool = False
    on_conflict: OnConflict = OnConflict.DELIVER


@frozen
class VerifiedDelivery:
    """A delivery that passed every check. Only `relay.ingest` and `relay.reconcile` build one.

    headers: the sender's header fields that may reach the upstream, Content-Type among them.
    reconciled: nobody called: its provider was asked, and this is what it said.
    confirm: its provider is to be asked whether it is so before it is delivered.
    """

    event_id: str
    provider: str
    environment: str
    upstream: str
    headers: Headers
    delivery: Delivery
    evidence: Evidence
    reconciled: bool = False
    confirm: bool = False

    @property
    def suffix(self) -> str:
        """What is appended to the upstream's URL: only below a prefix is a query part of it."""
        remainder = self.delivery.remainder
        return remainder and remainder + self.delivery.head.query

    @property
    def signed(self) -> tuple[str, ...]:
        """What the signature covers, `ambiguous` appended when it applies."""
        signed = self.evidence.signed
        return (*signed, "ambiguous") if self.evidence.ambiguous else signed


class Verdict(StrEnum):
    """What became of a delivery."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    PASSED = "passed"


@frozen
class Ruling:
    """A verdict, with its reason when it is a refusal.

    late: it is UNAVAILABLE because something did not answer in time.
    """

    verdict: Verdict
    reason: Reason | None = None
    late: bool = False


@frozen
class Ack:
    """The answer to a provider, in the provider's shape. An empty `content_type` is not sent."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


# ---- outbound -------------------------------------------------------------------------------


class Status(StrEnum):
    """Where an event is in its life."""

    PENDING = "pending"
    LEASED = "leased"
    DELIVERED = "delivered"
    DEAD = "dead"
    HELD = "held"
    PASSED = "passed"
    TEST = "test"


@frozen
class Event:
    """A stored event, as its upstream will receive it.

    suffix: remainder and query that a prefix endpoint appends to the upstream URL.
    signed, reconciled, confirm: as in `VerifiedDelivery`.
    conflicts_with: id of the first event with the same key and other content.
    """

    id: str
    endpoint: str
    provider: str
    environment: str
    upstream: str
    key: str
    subject: str | None
    method: str
    suffix: str
    headers: Headers
    client: Address
    received_at: datetime
    signed: tuple[str, ...]
    conflicts_with: str | None
    out_of_order: bool
    body: bytes = field(repr=False)
    reconciled: bool = False
    confirm: bool = False


@frozen
class Lease:
    """The right to try one event once, until `until`.

    attempt: how many times this event has been tried, this one included; also the fencing token,
        since it never repeats.
    turn: the same count since the event was stored or last requeued; the retry schedule goes by it.
    since: when this round began: it was stored, or last requeued; `give_up_after` counts from it.
        Later by what it has lain due while nobody was there to serve it.
    confirmed: the state that the provider has just said the event's subject is in.

    Both times are steady (`relay.clock`).
    """

    event: Event
    attempt: int
    turn: int
    since: datetime
    until: datetime
    confirmed: str | None = None


@frozen
class Unconfirmed:
    """Nothing was sent: the provider has not confirmed the event. `cause` says why, in few words.

    final: the provider says otherwise, so that asking again is of no use.
    """

    cause: str
    retry_after: timedelta | None = None
    final: bool = False


@frozen
class Delivered:
    """The upstream has taken the event (2xx)."""

    status: int


@frozen
class Rejected:
    """The upstream answered, and the answer was not 2xx."""

    status: int
    retry_after: timedelta | None = None


@frozen
class Unreachable:
    """No usable answer came; `cause` is one word such as `refused`, `timeout` or `reset`."""

    cause: str


#: What came of a request to an upstream.
Outcome = Delivered | Rejected | Unreachable

#: What came of a lease.
Tried = Outcome | Unconfirmed


@frozen
class Answer:
    """What came of passing one delivery on.

    ack: what the upstream answered, when its sender may have it; None otherwise.
    """

    outcome: Outcome
    ack: Ack | None = None


@frozen
class Passed:
    """A delivery that was passed on, and what came of it at that time."""

    delivery: VerifiedDelivery
    outcome: Outcome
    at: datetime


@frozen
class Done:
    """Nothing more to do: the event is delivered."""


@frozen
class RetryAt:
    """Try again, not before `due`, in steady time."""

    due: datetime


@frozen
class Dead:
    """Attempts are used up; a person decides what happens next."""


@frozen
class Held:
    """The provider does not stand by it; a person decides. The outcome says why."""


Decision = Done | RetryAt | Dead | Held


@frozen
class Attempted:
    """What is told about one try upstream.

    outcome: `delivered`, `rejected` or `unreachable`; `unconfirmed` when nothing was sent.
    decision: `done`, `retry`, `dead`, `held`, or `lost` when the lease had passed to another;
        `passed` when a sender waited for the answer and there is no second try.
    duration: seconds of the try. delay: seconds from receipt to delivery; None unless delivered.
    """

    event_id: str
    endpoint: str
    provider: str
    upstream: str
    attempt: int
    outcome: str
    status: int | None
    cause: str | None
    decision: str
    due: datetime | None
    duration: float
    delay: float | None
