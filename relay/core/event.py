"""The types on the way out: a stored event, the lease on it, the outcome of an attempt.

All are frozen.
"""

from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final

from relay.core.request import Ack, Address, Headers, Keep, VerifiedDelivery, frozen


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
    """A stored event, as one of its upstreams will receive it.

    upstream: that one; the first one where it is under no lease, empty where it has none.
    suffix: remainder and query that are appended to the upstream URL; as in `Delivery`.
    signed, reconciled, confirm: as in `VerifiedDelivery`.
    conflicts_with: id of the first event with the same key and other content, or with the same
        signed values and another subject.
    repeats: id of the first event with the same signed bytes, under another key.
    contradicts: it says what its signed part does not; it goes out only once that is confirmed.
    client_text: the client as text, where it is at hand; empty elsewhere.
    tokens: JSON pointers of tokens that stand in the body. redacted: of those that stood there.
    keep: as in `VerifiedDelivery`.
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
    client_text: str = field(default="", repr=False, compare=False)
    contradicts: bool = False
    repeats: str | None = None
    tokens: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()
    keep: Keep = Keep.ALL


@frozen
class Lease:
    """The right to try one event once, until `until`.

    attempt: how many times this event has been tried, this one included.
    round_attempt: the same count since the event was stored or last requeued; the retry schedule
        goes by it.
    round_started_at: when it was stored or last requeued; `give_up_after` counts from it. Later by
        the time that it was due while no relay served it.
    confirmed: the state of the event's subject, as its provider has just reported it.
    token: the fencing token; no two leases of a spool have the same.

    Both times are steady (`relay.core.clock`).
    """

    event: Event
    attempt: int
    round_attempt: int
    round_started_at: datetime
    until: datetime
    confirmed: str | None = None
    token: int = 0


# Each result has a name, a status and a cause, as they are logged.


@frozen
class Unconfirmed:
    """Nothing was sent: the provider has not confirmed the event. `cause` is a short phrase.

    final: the provider contradicts the event, so that another question is of no use.
    not_yet: the provider answered, and may know more later.
    strict: the event is held in the end, never sent unconfirmed.
    until: the steady time at which questions end; None: that of the upstream's retries.
    asked: how many attempts before this one were questions alone, as far as is known.
    """

    name: ClassVar = "unconfirmed"
    status: ClassVar = None

    cause: str
    retry_after: timedelta | None = None
    final: bool = False
    not_yet: bool = False
    strict: bool = True
    until: datetime | None = None
    asked: int = 0


@frozen
class Delivered:
    """The upstream answered 2xx."""

    name: ClassVar = "delivered"
    cause: ClassVar = None

    status: int


@frozen
class Rejected:
    """The upstream answered, and the answer was not 2xx."""

    name: ClassVar = "rejected"
    cause: ClassVar = None

    status: int
    retry_after: timedelta | None = None


@frozen
class Unreachable:
    """No usable answer came.

    cause: one word such as `refused`, `timeout` or `reset`; of a certificate that was not
        accepted, `tls:` and what is wrong with it.
    """

    name: ClassVar = "unreachable"
    status: ClassVar = None

    cause: str


#: Why an event is dead whose upstream answered that it will never take it.
FINAL: Final = "final"

#: Why an event is held that says what its signed part does not.
STATUS_CONTRADICTS_CODE: Final = "status_contradicts_code"

#: The result of one request to an upstream.
Outcome = Delivered | Rejected | Unreachable

#: The result of one lease.
AttemptResult = Outcome | Unconfirmed


@frozen
class ProxyResponse:
    """The result of forwarding one delivery.

    ack: the upstream's answer where it may be passed back to the sender; None otherwise.
    """

    outcome: Outcome
    ack: Ack | None = None


@frozen
class ProxiedDelivery:
    """A delivery that was forwarded, its outcome, and the time of that."""

    delivery: VerifiedDelivery
    outcome: Outcome
    at: datetime


@frozen
class Done:
    """Nothing more to do: the event is delivered."""


@frozen
class RetryAt:
    """Retry, not before `due`, in steady time."""

    due: datetime


@frozen
class Dead:
    """Attempts are used up: no retry until an operator requeues the event.

    final: by an answer after which no other is wanted; no copy of the event revives it.
    """

    final: bool = False


@frozen
class Held:
    """Not confirmed by its provider: kept undelivered until an operator decides."""


Decision = Done | RetryAt | Dead | Held


@frozen
class AttemptRecord:
    """One attempt for a lease as it is logged and counted.

    outcome: `delivered`, `rejected` or `unreachable`; `unconfirmed` when nothing was sent.
    decision: `done`, `retry`, `dead`, `held`; `lost` when the lease had passed to another holder.
    duration: seconds of the attempt. delay: seconds from receipt to delivery; None unless
        delivered.
    queued: seconds from when the event was stored, or requeued, to its first attempt; None for
        later ones. settling: seconds from the end of the attempt until that was written down.
    reason: why the event is dead or held, where the outcome does not tell.
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
    queued: float | None = None
    settling: float | None = None
    reason: str | None = None


def event_of(
    verified: VerifiedDelivery,
    conflicts_with: str | None = None,
    *,
    out_of_order: bool = False,
    repeats: str | None = None,
    upstream: str | None = None,
) -> Event:
    """Return the event that a delivery becomes, as a spool would return it.

    upstream: which one receives it. Default: the first.
    """
    delivery, verification = verified.delivery, verified.verification
    head = delivery.head
    if upstream is None:
        upstream = verified.upstreams[0] if verified.upstreams else ""
    # By position, which takes two thirds of the time.
    return Event(
        verified.event_id,
        delivery.endpoint,
        verified.provider,
        verified.environment,
        upstream,
        verification.key,
        verification.subject,
        head.method,
        delivery.suffix,
        verified.headers,
        delivery.client.address,
        head.received_at,
        verified.signed if verification.ambiguous else verification.signed,
        conflicts_with,
        out_of_order,
        delivery.body,
        verified.reconciled,
        verified.confirm,
        delivery.client.text,
        verification.hold is not None and not verified.reconciled,
        repeats,
        verification.tokens,
        verification.redacted,
        verified.keep,
    )
