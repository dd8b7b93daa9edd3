"""Confirms events with the provider's status API before they are sent.

A notification of Midtrans signs three of its fields, and its status is none of them; its API says
what a transaction's status is now. `relay.ingest.reconcile` asks the same API for events that never
came.
"""

import asyncio
from base64 import b64encode
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar
from urllib.parse import quote

from relay.core.clock import Clock
from relay.core.event import Event, Lease, Unconfirmed
from relay.core.rate_limit import FairRateLimiter
from relay.core.secret import Secret
from relay.delivery.attempt import Confirmed, RateLimited
from relay.delivery.causes import cause_of
from relay.delivery.circuit_breaker import STATUS_API_BREAKER, CircuitBreaker
from relay.delivery.http import ExchangeFailed, Origin, Pool, encode
from relay.delivery.sender import parse_retry_after
from relay.providers.midtrans.status import (
    MALFORMED,
    UNASKABLE,
    Agrees,
    Answer,
    Disagrees,
    Limited,
    NoAnswer,
    NotFound,
    NotYet,
    StatusApi,
    Transaction,
    Unlinked,
    compare,
    notified_transaction,
    parse_answer,
)

T = TypeVar("T")

# ---- GET status over HTTP -------------------------------------------------------------------

#: The longest that one request takes, in seconds.
STATUS_TIMEOUT: Final = 5.0

#: How many requests may be under way at a time.
CONCURRENCY: Final = 8

_MAX_ANSWER_BYTES: Final = 256 * 1024
_KEEPALIVE: Final = 4.0


class StatusClient:
    """Client of one status API, over a pool of connections. Made inside a running event loop.

    url: the base of the API, such as https://api.midtrans.com. Redirects are not followed and proxy
        settings are not read: the key goes to this host and nowhere else.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self.base = url.rstrip("/") + "/v2"
        self._origin = Origin.of(url)
        self._clock = clock
        self._pool = Pool(
            self._origin, size=CONCURRENCY, idle=_KEEPALIVE, longest_body=_MAX_ANSWER_BYTES
        )

    async def ask(self, name: str, secret: Secret) -> Answer:
        """Request the status of a transaction or order, once.

        Never takes longer than `STATUS_TIMEOUT`, and never raises but for cancellation.
        """
        try:
            request = self._request(name, secret)
            async with asyncio.timeout(STATUS_TIMEOUT):
                response = await self._pool.exchange(request)
        except (ExchangeFailed, OSError) as error:
            return NoAnswer(cause_of(error).value)
        except ValueError:
            return NoAnswer(UNASKABLE)
        if response.values("content-encoding"):
            return NoAnswer(MALFORMED)
        waits = response.values("retry-after")
        wait: timedelta | None = parse_retry_after(waits[0], self._clock.now()) if waits else None
        answer = parse_answer(response.status or 0, response.body, wait)
        if isinstance(answer, Transaction) and _holds_key(answer.body, secret):
            # An answer may be stored, and the key never is.
            return NoAnswer(MALFORMED)
        return answer

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    def _request(self, name: str, secret: Secret) -> bytes:
        # Order ids hold blanks and number signs. Dots alone would be read as a parent directory.
        if not name.strip("."):
            raise ValueError("no id")
        target = self._origin.target(f"{self.base}/{quote(name, safe='')}/status")
        fields = (
            ("Accept", "application/json"),
            ("Authorization", "Basic " + _basic(secret)),
            ("User-Agent", "relay"),
        )
        return encode("GET", target, self._origin.authority, fields, b"")


def _holds_key(body: bytes, secret: Secret) -> bool:
    """Return whether an answer holds the key that was used, or the header that it was sent in."""
    return secret.reveal() in body or _basic(secret).encode() in body


def _basic(secret: Secret) -> str:
    return b64encode(secret.reveal() + b":").decode()


# ---- confirming an event --------------------------------------------------------------------

#: The most that confirming one event takes: by its transaction id, and by its order id.
MAX_CONFIRMATION: Final = timedelta(seconds=2 * STATUS_TIMEOUT)

#: The cause when no answer has named both the order and the transaction.
UNLINKED: Final = "no answer names both the order and the transaction"

#: How many events' waiting is remembered for each endpoint.
MAX_WAITING: Final = 10_000


class Observer(Protocol):
    """Counts results (`relay.telemetry`). Neither raises nor blocks."""

    def confirmed(self, endpoint: str, result: str) -> None:
        """Count one result: one of `relay.telemetry.metrics.CONFIRMATIONS`."""


class Waiting:
    """The events that an API has not confirmed yet: since when, and whether by order comes next.

    Of those that it has confirmed since, how often it was asked in vain; and which it contradicted.

    The oldest of more than `MAX_WAITING` are forgotten, and wait anew.
    """

    def __init__(self) -> None:
        # With the round that is meant: a requeue begins another one.
        self._since: dict[str, tuple[int, datetime]] = {}
        self._asked: dict[str, tuple[int, int]] = {}
        self._by_order: dict[str, None] = {}
        self._contradicted: dict[str, None] = {}

    def since(self, lease: Lease, now: datetime) -> datetime:
        """Return since when the event of this lease waits in this round; now, if it is new."""
        known = self._since.get(lease.event.id)
        if known is not None and known[0] == _round(lease):
            return known[1]
        _put(self._since, lease.event.id, (_round(lease), now))
        return now

    def asked(self, lease: Lease) -> int:
        """Return how often the API was asked in vain about this event in this round."""
        known = self._asked.get(lease.event.id)
        return known[1] if known is not None and known[0] == _round(lease) else 0

    def count(self, lease: Lease) -> int:
        """Count that it was asked in vain; return how often it was before."""
        before = self.asked(lease)
        _put(self._asked, lease.event.id, (_round(lease), before + 1))
        return before

    def ask_by_order(self, event_id: str) -> None:
        """Remember that the next question about this event is by its order id."""
        _put(self._by_order, event_id, None)

    def take_by_order(self, event_id: str) -> bool:
        """Return whether this question is by the order id; later ones are not."""
        if event_id not in self._by_order:
            return False
        del self._by_order[event_id]
        return True

    def contradict(self, event_id: str) -> None:
        """Remember that the API contradicts this event, until it confirms it."""
        self._since.pop(event_id, None)
        _put(self._contradicted, event_id, None)

    def is_contradicted(self, event_id: str) -> bool:
        """Return whether the API has contradicted this event, and not confirmed it since."""
        return event_id in self._contradicted

    def forget(self, event_id: str) -> None:
        """Forget an event that is confirmed."""
        self._since.pop(event_id, None)
        self._contradicted.pop(event_id, None)


def _round(lease: Lease) -> int:
    """Return what is the same for the attempts since an event was stored or requeued."""
    return lease.attempt - lease.round_attempt


def _put(known: dict[str, T], event_id: str, value: T) -> None:
    known.pop(event_id, None)
    known[event_id] = value
    if len(known) > MAX_WAITING:
        del known[next(iter(known))]


@dataclass(slots=True, eq=False)
class StatusTarget:
    """The status API of one endpoint, with its rate limit and breaker.

    secrets: the keys of the endpoint. key: the one to ask with; None for the one that signed, of at
        least one. strict: an unconfirmed event is never sent.
    wait: for how long the API is asked about an event that it does not confirm yet.
    """

    api: StatusApi
    secrets: tuple[Secret, ...]
    limiter: FairRateLimiter
    strict: bool
    wait: timedelta
    key: Secret | None = None
    breaker: CircuitBreaker = field(default_factory=lambda: CircuitBreaker(STATUS_API_BREAKER))
    under_way: int = 0
    waiting: Waiting = field(default_factory=Waiting)

    def asking_key(self, transaction: Transaction) -> Secret:
        """Return the key to ask with about a notified transaction.

        It is the key that signed it, whichever position that has now. A key that is gone since
        then would not be taken by the API either.
        """
        if self.key is not None:
            return self.key
        return self.secrets[transaction.signer(self.secrets) or 0]


class StatusConfirmer:
    """Implements `relay.delivery.attempt.Confirmer` with status APIs."""

    def __init__(
        self,
        targets: Mapping[str, StatusTarget],
        unasked: Container[str],
        clock: Clock,
        observer: Observer,
    ) -> None:
        """Take the parts.

        targets: by endpoint; events of other endpoints are not asked about.
        unasked: the endpoints that are configured without confirmation: their events go out. An
            event that has to be confirmed, and whose endpoint is gone or renamed, does not.
        """
        self._targets = targets
        self._unasked = unasked
        self._clock = clock
        self._observer = observer

    def concerns(self, event: Event) -> bool:
        return event.endpoint in self._targets or event.contradicts or self._is_orphan(event)

    async def confirm(self, lease: Lease) -> Confirmed | Unconfirmed | RateLimited | None:
        """Ask about an event, within `MAX_CONFIRMATION`; nothing is waited for but the answers.

        `RateLimited` when our own rate limit defers the question, which counts as no attempt. An
        event that names no transaction, as a notice of a linked account, cannot be confirmed.
        """
        event = lease.event
        target = self._targets.get(event.endpoint)
        if target is None:
            if event.contradicts:
                return Unconfirmed("nobody is asked about it", final=True)
            gone = f"endpoint {event.endpoint} is not configured; name it again"
            return Unconfirmed(gone) if self._is_orphan(event) else None
        transaction = notified_transaction(event.body)
        if transaction is None:
            return self._contradicted(target, event, "names no transaction")
        return await self._confirm_with_api(target, lease, transaction)

    async def _confirm_with_api(
        self, target: StatusTarget, lease: Lease, transaction: Transaction
    ) -> Confirmed | Unconfirmed | RateLimited:
        event = lease.event
        by_order = target.waiting.take_by_order(event.id)
        found = await self._ask_and_compare(target, lease, transaction, by_order=by_order)
        if isinstance(found, Unlinked) and not by_order and not transaction.names_itself_twice:
            found = await self._ask_and_compare(target, lease, transaction, by_order=True)
        match found:
            case Agrees(state):
                target.waiting.forget(event.id)
                self._observer.confirmed(event.endpoint, "confirmed")
                return Confirmed(state, target.waiting.asked(lease))
            case Disagrees(reason):
                return self._contradicted(target, event, reason)
            case NotYet(reason):
                return self._unconfirmed(target, lease, "not_yet", reason)
            case Unlinked():
                return self._unconfirmed(target, lease, "not_yet", UNLINKED)
            case _:
                return found

    async def _ask_and_compare(
        self, target: StatusTarget, lease: Lease, transaction: Transaction, *, by_order: bool
    ) -> Agrees | Disagrees | NotYet | Unlinked | Unconfirmed | RateLimited:
        """Ask once; return how the answer compares, or what comes of having none."""
        event, now = lease.event, self._clock.monotonic()
        paused = target.breaker.paused_for(now)
        if paused > 0:
            # The event uses up its attempts as if it had been asked about, so that on_error is
            # reached.
            wait = timedelta(seconds=paused)
            return self._unconfirmed(target, lease, "error", "api left alone", wait)
        delay = self._delay(target, event.id, now)
        if delay > 0:
            if by_order:
                target.waiting.ask_by_order(event.id)
            return RateLimited(delay)
        secret = target.asking_key(transaction)
        name = transaction.order_id if by_order else transaction.query_id
        answer = await self._ask(target, event, name, secret, now)
        if isinstance(answer, Transaction):
            return compare(transaction, answer, (secret, *target.secrets), by_order=by_order)
        retry_after = answer.retry_after if isinstance(answer, Limited) else None
        result, cause = _result_and_cause(answer)
        return self._unconfirmed(target, lease, result, cause, retry_after)

    def _is_orphan(self, event: Event) -> bool:
        return event.confirm and event.endpoint not in self._unasked

    def _contradicted(self, target: StatusTarget, event: Event, cause: str) -> Unconfirmed:
        target.waiting.contradict(event.id)
        self._observer.confirmed(event.endpoint, "contradicted")
        return Unconfirmed(cause, final=True)

    def _unconfirmed(
        self,
        target: StatusTarget,
        lease: Lease,
        result: str,
        cause: str,
        retry_after: timedelta | None = None,
    ) -> Unconfirmed:
        self._observer.confirmed(lease.event.endpoint, result)
        not_yet = result in {"not_found", "not_yet"}
        # What contradicts its signed part, or was contradicted before a copy revived it, never goes
        # out because there was no answer.
        contradicts = lease.event.contradicts or target.waiting.is_contradicted(lease.event.id)
        strict = target.strict or contradicts
        until = None
        if not_yet or not strict:
            until = target.waiting.since(lease, self._clock.steady()) + target.wait
        return Unconfirmed(
            cause,
            retry_after,
            not_yet=not_yet,
            strict=strict,
            until=until,
            asked=target.waiting.count(lease),
        )

    @staticmethod
    def _delay(target: StatusTarget, event_id: str, now: float) -> float:
        """Return the seconds until an event may be asked about; 0 uses its reservation."""
        delay = target.limiter.acquire(event_id, now)
        if delay <= 0 and target.under_way >= CONCURRENCY:
            return target.limiter.defer(event_id, now)
        return delay

    async def _ask(
        self, target: StatusTarget, event: Event, name: str, secret: Secret, now: float
    ) -> Answer:
        target.breaker.on_start(event.id, now)
        target.under_way += 1
        try:
            async with asyncio.timeout(STATUS_TIMEOUT):
                answer = await target.api.ask(name, secret)
        except TimeoutError:
            answer = NoAnswer("timeout")
        finally:
            target.under_way -= 1
        if isinstance(answer, Limited):
            target.breaker.record_failure(event.id, self._clock.monotonic(), answer.retry_after)
        elif isinstance(answer, NoAnswer) and answer.cause != UNASKABLE:
            target.breaker.record_failure(event.id, self._clock.monotonic())
        else:
            target.breaker.record_success()
        return answer


def _result_and_cause(answer: NotFound | Limited | NoAnswer) -> tuple[str, str]:
    """Return the result to count, and the cause in the history."""
    match answer:
        case NotFound():
            return "not_found", "not found"
        case Limited():
            return "limited", "too many requests"
        case NoAnswer(cause):
            return "error", cause
