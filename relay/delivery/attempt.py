"""One attempt for one lease: confirm, send, decide, settle.

An event is settled after its attempt, never before, so one that is cut short is delivered again: at
least once, not exactly once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol

from relay.core.clock import Clock
from relay.core.concurrency import Cancel, called_back
from relay.core.errors import LeaseLost, SpoolUnavailable
from relay.core.event import (
    AttemptRecord,
    AttemptResult,
    Dead,
    Decision,
    Delivered,
    Done,
    Event,
    Held,
    Lease,
    Outcome,
    Rejected,
    RetryAt,
    Unconfirmed,
    Unreachable,
)
from relay.core.rate_limit import backoff_pause
from relay.delivery.circuit_breaker import CircuitBreaker
from relay.delivery.retry import RetryPolicy, decide, may_go_unconfirmed
from relay.delivery.sender import Cause
from relay.spool import Spool, SpoolBroken

# Back-off between tries to settle while the spool is unavailable, in seconds.
_FIRST_PAUSE = 0.1
_MAX_PAUSE = 5.0

_OUTCOMES = {
    Delivered: "delivered",
    Rejected: "rejected",
    Unreachable: "unreachable",
    Unconfirmed: "unconfirmed",
}
_DECISIONS = {Done: "done", RetryAt: "retry", Dead: "dead", Held: "held"}

_NEUTRAL_CAUSES = {Cause.UNSENDABLE, Cause.SHUTDOWN, Cause.FAULT}


class Sender(Protocol):
    """Sends an event to one upstream (`relay.delivery.sender.HttpSender`)."""

    def attempt(self, lease: Lease, done: Callable[[Outcome], None]) -> Cancel:
        """Send the event once; call `done` with the outcome, within its timeout but not at once."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The provider confirms the event; `state` is the present state of its subject."""

    state: str


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Not asked yet: our own rate limit allows the question in so many seconds."""

    seconds: float


class Confirmer(Protocol):
    """Asks providers to confirm events (`relay.delivery.confirmation`)."""

    def strict(self, event: Event) -> bool:
        """Return whether the event may never be sent unconfirmed."""

    async def confirm(self, event: Event) -> Confirmed | Unconfirmed | RateLimited | None:
        """Ask the event's provider, within a known time; None where nothing is to be asked.

        `RateLimited` is returned at once: an attempt does not wait for the rate limit.
        """


class _NoConfirmation:
    """A `Confirmer` that asks for no event."""

    def strict(self, event: Event) -> bool:  # noqa: ARG002 - of any event
        return False

    async def confirm(self, event: Event) -> None:  # noqa: ARG002 - of any event
        return None


class Observer(Protocol):
    """Logs and counts what happens (`relay.telemetry`). No method raises or blocks."""

    def attempted(self, attempted: AttemptRecord) -> None:
        """An attempt has ended and its outcome is settled, or lost with its lease."""

    def event_corrupt(self, upstream: str, event_id: str) -> None:
        """An event was found damaged in the spool; it is dead."""

    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None:
        """A fault of relay itself: with one event, or with claiming (None)."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream and how it is served.

    timeout: the most that one attempt takes, its confirmation included.
    confirmer: called before each attempt.
    url: where its events go; a worker that replaces one of the same URL shares its concurrency.
    """

    name: str
    sender: Sender
    timeout: timedelta
    concurrency: int
    retry: RetryPolicy
    order_by_key: bool = False
    confirmer: Confirmer = field(default_factory=_NoConfirmation)
    url: str = ""


class AttemptRunner:
    """Runs the attempts of one upstream and settles them."""

    def __init__(
        self,
        *,
        upstream: Upstream,
        spool: Spool,
        breaker: CircuitBreaker,
        clock: Clock,
        dice: Random,
        observer: Observer,
    ) -> None:
        self._upstream = upstream
        self._spool = spool
        self._breaker = breaker
        self._clock = clock
        self._dice = dice
        self._observer = observer
        self._in_flight: set[asyncio.Timeout] = set()

    def cut(self) -> None:
        """Cut short the attempts that are under way; their events are due again at once."""
        now = asyncio.get_running_loop().time()
        for attempt in self._in_flight:
            attempt.reschedule(now)

    async def deliver(
        self, lease: Lease, began: datetime, on_answered: Callable[[], None] = lambda: None
    ) -> bool:
        """Attempt one event and settle the outcome; return whether it needs no further attempt.

        Raises nothing but for cancellation. An event that the rate limit of its confirmation holds
        back is released as untried, and no attempt is reported.

        began: the steady time at which the attempt starts.
        on_answered: called between the two, when the upstream has room for another attempt.
        """
        try:
            outcome = await self._try(lease)
            ended = self._clock.steady()
            self._update_breaker(lease.event.id, outcome, ended)
            on_answered()
            if isinstance(outcome, RateLimited):
                await self._postpone(lease, outcome, ended)
                return False
            decision = self._decide(outcome, lease, ended)
            recorded = await self._settle(lease, decision, outcome)
            self._observer.attempted(
                attempt_record(
                    lease,
                    outcome,
                    _DECISIONS[type(decision)] if recorded else "lost",
                    duration=(ended - began).total_seconds(),
                    now=self._clock.now(),
                    due=decision.due if recorded and isinstance(decision, RetryAt) else None,
                )
            )
            return recorded and not isinstance(decision, RetryAt)
        except Exception as fault:  # noqa: BLE001 - one event must not stop the others
            # It is due again when its lease has expired.
            self._observer.dispatch_error(self._upstream.name, lease.event.id, fault)
            return False

    async def _try(self, lease: Lease) -> AttemptResult | RateLimited:
        attempt = asyncio.timeout(None)
        try:
            async with attempt:
                self._in_flight.add(attempt)
                return await self._confirm_and_send(lease)
        except Exception as fault:  # noqa: BLE001 - a poisoned event uses up its attempts, then is dead
            if attempt.expired():
                return Unreachable(Cause.SHUTDOWN)
            self._observer.dispatch_error(self._upstream.name, lease.event.id, fault)
            return Unreachable(Cause.FAULT)
        finally:
            self._in_flight.discard(attempt)

    async def _confirm_and_send(self, lease: Lease) -> AttemptResult | RateLimited:
        upstream, event = self._upstream, lease.event
        result = await upstream.confirmer.confirm(event)
        if isinstance(result, RateLimited):
            return result
        if isinstance(result, Confirmed):
            lease = replace(lease, confirmed=result.state)
        elif result is not None and (
            result.final
            or upstream.confirmer.strict(event)
            or not may_go_unconfirmed(lease, self._clock.steady(), upstream.retry)
        ):
            return result
        return await called_back(partial(upstream.sender.attempt, lease))

    def _update_breaker(
        self, event_id: str, outcome: AttemptResult | RateLimited, now: datetime
    ) -> None:
        if isinstance(outcome, Delivered | Rejected):
            self._breaker.record_success()
        elif isinstance(outcome, Unconfirmed | RateLimited) or outcome.cause in _NEUTRAL_CAUSES:
            self._breaker.ignore(event_id)
        else:
            self._breaker.record_failure(event_id, now.timestamp())

    def _decide(self, outcome: AttemptResult, lease: Lease, now: datetime) -> Decision:
        if isinstance(outcome, Unreachable) and outcome.cause == Cause.SHUTDOWN:
            return RetryAt(now)
        return decide(outcome, lease, now, self._upstream.retry, self._dice)

    async def _settle(self, lease: Lease, decision: Decision, outcome: AttemptResult) -> bool:
        """Return whether the outcome is in the spool."""
        return await self._write(lease, partial(self._spool.settle, lease, decision, outcome))

    async def _postpone(self, lease: Lease, limited: RateLimited, now: datetime) -> None:
        """Release the event as untried; what it waits does not count against `give_up_after`."""
        due = now + timedelta(seconds=limited.seconds)
        await self._write(lease, partial(self._spool.release, lease, due))

    async def _write(self, lease: Lease, write: Callable[[], Awaitable[None]]) -> bool:
        """Return whether it is written; retry until the lease expires."""
        tries = 0
        while True:
            try:
                await write()
            except LeaseLost:
                return False
            except SpoolUnavailable as fault:
                self._observer.dispatch_error(self._upstream.name, lease.event.id, fault)
                pause = backoff_pause(_FIRST_PAUSE, _MAX_PAUSE, tries)
                tries += 1
                late = self._clock.steady() + timedelta(seconds=pause) >= lease.until
                if late or isinstance(fault, SpoolBroken):
                    return False
            else:
                return True
            await self._clock.sleep(pause)


def attempt_record(
    lease: Lease,
    outcome: AttemptResult,
    decision: str,
    *,
    duration: float,
    now: datetime,
    due: datetime | None = None,
) -> AttemptRecord:
    """Return the record of one attempt that ended now."""
    event = lease.event
    delivered = isinstance(outcome, Delivered)
    return AttemptRecord(
        event_id=event.id,
        endpoint=event.endpoint,
        provider=event.provider,
        upstream=event.upstream,
        attempt=lease.attempt,
        outcome=_OUTCOMES[type(outcome)],
        status=outcome.status if isinstance(outcome, Delivered | Rejected) else None,
        cause=outcome.cause if isinstance(outcome, Unreachable | Unconfirmed) else None,
        decision=decision,
        due=due,
        duration=duration,
        # The wall clock may have been set back meanwhile.
        delay=max(0.0, (now - event.received_at).total_seconds()) if delivered else None,
    )
