"""One attempt for one lease: confirm, send, decide, settle.

An event is settled after its attempt, never before, so one that is cut short is delivered again: at
least once, not exactly once.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol

from relay.core.clock import Clock
from relay.core.event import (
    FINAL,
    STATUS_CONTRADICTS_CODE,
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
from relay.core.rate_limit import TokenBucket
from relay.core.request import VerifiedDelivery
from relay.core.secret import Secret
from relay.delivery.answers import kept_answer
from relay.delivery.causes import NEUTRAL, Cause
from relay.delivery.circuit_breaker import CircuitBreaker
from relay.delivery.retry import RetryPolicy, decide, decide_at_once, may_go_unconfirmed
from relay.delivery.sender import SentEvent
from relay.delivery.write_retry import LeasedWrites
from relay.spool import Settlement, Spool

_DECISIONS = {Done: "done", RetryAt: "retry", Dead: "dead", Held: "held"}


def _reason(event: Event, decision: Decision) -> str | None:
    """Return why an event is dead or held, where its last outcome does not tell."""
    if isinstance(decision, Dead) and decision.final:
        return FINAL
    return STATUS_CONTRADICTS_CODE if event.contradicts and isinstance(decision, Held) else None


class Sender(Protocol):
    """Sends an event to one upstream (`relay.delivery.sender.HttpSender`)."""

    def attempt(self, sending: SentEvent) -> None:
        """Send the event once; call `told` with the outcome, within its timeout but not at once."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The provider confirms the event; `state` is the present state of its subject.

    asked: as of `Unconfirmed`.
    """

    state: str
    asked: int = 0


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Not asked yet: our own rate limit allows the question in so many seconds."""

    seconds: float


class Confirmer(Protocol):
    """Asks providers to confirm events (`relay.delivery.confirmation`)."""

    def concerns(self, event: Event) -> bool:
        """Return whether `confirm` has anything to say about this event."""

    async def confirm(self, lease: Lease) -> Confirmed | Unconfirmed | RateLimited | None:
        """Ask the event's provider, within a known time; None where nothing is to be asked.

        `RateLimited` is returned at once: an attempt does not wait for the rate limit.
        """


class _NoConfirmation:
    """A `Confirmer` that asks for no event."""

    def concerns(self, event: Event) -> bool:  # noqa: ARG002 - of any event
        return False

    async def confirm(self, lease: Lease) -> None:  # noqa: ARG002 - of any event
        return None


class Observer(Protocol):
    """Logs and counts what happens (`relay.telemetry`). No method raises or blocks."""

    def attempted(self, attempted: AttemptRecord, at: datetime) -> None:
        """An attempt has ended and its outcome is settled, or lost with its lease.

        at: the wall-clock time of that.
        """

    def forwarded(
        self, delivery: VerifiedDelivery, outcome: Outcome, at: datetime, duration: float
    ) -> None:
        """A delivery was sent on, once, in so many seconds; `at` is the wall-clock time now."""

    def event_corrupt(self, upstream: str, event_id: str) -> None:
        """An event was found damaged in the spool; it is dead."""

    def upstream_paused(self, upstream: str, *, paused: bool) -> None:
        """A person has paused an upstream, or resumed it; that is in force from now on."""

    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None:
        """A fault of relay itself: with one event, or with claiming (None)."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream and how it is served.

    timeout: the most that one attempt takes, its confirmation included.
    confirmer: called before each attempt.
    url: where its events go; a worker that replaces one of the same URL shares its concurrency.
    paused: the configuration says that it is delivered nothing.
    secrets: those that no answer is kept with; asked for each answer.
    rate: has a call for each attempt that starts; None for any number.
    """

    name: str
    sender: Sender
    timeout: timedelta
    concurrency: int
    retry: RetryPolicy
    order_by_key: bool = False
    confirmer: Confirmer = field(default_factory=_NoConfirmation)
    url: str = field(default="", repr=False)
    paused: bool = False
    secrets: Callable[[], Iterable[Secret]] = field(default=tuple, compare=False)
    rate: TokenBucket | None = None


class Attempt(SentEvent):
    """One attempt under way, with its exchange.

    began, started: the steady and the monotonic time of its start.
    settlement, duration: what came of it, and its seconds, once it has ended.
    on_answered: called when the upstream has room for another attempt.
    on_settled: called last, with whether the event needs no further attempt.
    asked: how many attempts before it did not reach the upstream, but were questions alone.
    """

    asked = 0
    started: float
    duration: float
    settlement: Settlement

    def __init__(
        self,
        runner: "AttemptRunner",
        lease: Lease,
        began: datetime,
        on_answered: Callable[[], None],
        on_settled: Callable[[bool], None],
    ) -> None:
        self.runner = runner
        self.lease = lease
        self.began = began
        self.on_answered = on_answered
        self.on_settled = on_settled

    def told(self, outcome: Outcome) -> None:
        self.runner.end(self, outcome)

    def repeated(self) -> None:
        self.runner.count_repeated()


class AttemptRunner:
    """Runs the attempts of one upstream, and settles those together that end together.

    An attempt is an object with callbacks. Only one that its provider is asked about, and one that
    the spool does not settle at once, has a task.
    """

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
        self._writes = LeasedWrites(upstream.name, clock, observer)
        # In the order of their start.
        self._under_way: dict[Attempt, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Not handed to the spool yet, and whether that is to come.
        self._ended: list[Attempt] = []
        self._settling = False

    def start(
        self,
        lease: Lease,
        began: datetime,
        on_answered: Callable[[], None],
        on_settled: Callable[[bool], None],
    ) -> None:
        """Attempt one event and settle the outcome; the callbacks are called later, once each.

        An event that the rate limit of its confirmation holds back is released as untried, and no
        attempt is reported.

        began: the steady time at which the attempt starts.
        on_answered: called before the outcome is settled.
        """
        attempt = Attempt(self, lease, began, on_answered, on_settled)
        attempt.started = self._clock.monotonic()
        self._under_way[attempt] = None
        try:
            if self._upstream.confirmer.concerns(lease.event):
                attempt.pending = self._run(self._confirm(attempt))
            else:
                self._upstream.sender.attempt(attempt)
        except Exception as fault:  # noqa: BLE001 - a poisoned event uses up its attempts, then is dead
            attempt.end_soon(partial(self._end_by_fault, attempt, fault))

    def cut(self) -> None:
        """Cut short the attempts that are under way; their events are due again at once."""
        for attempt in list(self._under_way):
            attempt.drop()
            self.end(attempt, Unreachable(Cause.SHUTDOWN))

    def abandon(self) -> None:
        """Drop everything that is under way: nothing is settled or reported any more."""
        for attempt in self._under_way:
            attempt.drop()
        self._under_way.clear()
        for task in self._tasks:
            task.cancel()

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- confirming and sending -----------------------------------------------------------------

    async def _confirm(self, attempt: Attempt) -> None:
        upstream, lease = self._upstream, attempt.lease
        try:
            result = await upstream.confirmer.confirm(lease)
            if isinstance(result, Confirmed):
                attempt.lease = replace(lease, confirmed=result.state)
                attempt.asked = result.asked
                self._send(attempt)
            elif isinstance(result, RateLimited) or (
                result is not None
                and not may_go_unconfirmed(result, lease, self._clock.steady(), upstream.retry)
            ):
                self.end(attempt, result)
            else:
                attempt.asked = 0 if result is None else result.asked
                self._send(attempt)
        except Exception as fault:  # noqa: BLE001 - as of an event that cannot be sent
            self._end_by_fault(attempt, fault)

    def _send(self, attempt: Attempt) -> None:
        attempt.pending = None
        self._upstream.sender.attempt(attempt)

    def _end_by_fault(self, attempt: Attempt, fault: Exception) -> None:
        self._observer.dispatch_error(self._upstream.name, attempt.lease.event.id, fault)
        self.end(attempt, Unreachable(Cause.FAULT))

    # ---- deciding -------------------------------------------------------------------------------

    def end(self, attempt: Attempt, outcome: AttemptResult | RateLimited) -> None:
        """End an attempt, unless it has ended. Never raises: connections call it."""
        if attempt not in self._under_way:
            return
        del self._under_way[attempt]
        lease = attempt.lease
        try:
            if isinstance(outcome, RateLimited):
                self._breaker.ignore(lease.event.id)
                self._give_back()
                self._run(self._postpone(attempt, outcome))
            else:
                if isinstance(outcome, Delivered):
                    # Most attempts end so.
                    self._breaker.record_success()
                else:
                    self._update_breaker(lease.event.id, outcome)
                decision = decide_at_once(outcome) or self._decide(attempt, outcome)
                attempt.duration = self._clock.monotonic() - attempt.started
                took = round(attempt.duration * 1_000_000)
                delivered = outcome.name == "delivered"
                reason = None if delivered else _reason(lease.event, decision)
                said = None
                if attempt.answer:
                    said = kept_answer(attempt.answer, lease.event, self._upstream.secrets())
                attempt.settlement = Settlement(lease, decision, outcome, took, said, reason)
                self._ended.append(attempt)
        except Exception as fault:  # noqa: BLE001 - one event must not stop the others
            # It is due again when its lease has expired.
            self._observer.dispatch_error(self._upstream.name, lease.event.id, fault)
            asyncio.get_running_loop().call_soon(attempt.on_settled, False)
        attempt.on_answered()
        if self._ended and not self._settling:
            if self._under_way:
                # At the end of the loop's iteration, with all that has ended by then.
                self._settling = True
                asyncio.get_running_loop().call_soon(self._settle_ended)
            else:
                self._settle_ended()

    def _update_breaker(self, event_id: str, outcome: Rejected | Unreachable | Unconfirmed) -> None:
        if isinstance(outcome, Rejected):
            self._breaker.record_success()
        elif isinstance(outcome, Unconfirmed):
            self._breaker.ignore(event_id)
            self._give_back()
        elif outcome.cause in NEUTRAL:
            self._breaker.ignore(event_id)
        else:
            self._breaker.record_failure(event_id, self._clock.steady().timestamp())

    def count_repeated(self) -> None:
        """Count a second request of one attempt: the next attempt waits for it, too."""
        if self._upstream.rate is not None:
            self._upstream.rate.reserve(self._clock.monotonic())

    def _give_back(self) -> None:
        """Nothing was sent: the rate of the upstream has room for another attempt."""
        if self._upstream.rate is not None:
            self._upstream.rate.give_back()

    def _decide(self, attempt: Attempt, outcome: AttemptResult) -> Decision:
        lease, now = attempt.lease, self._clock.steady()
        if isinstance(outcome, Unreachable) and outcome.cause == Cause.SHUTDOWN:
            return RetryAt(now)
        if attempt.asked:
            # The upstream is not to be tried more seldom because its event had to wait.
            lease = replace(lease, round_attempt=max(1, lease.round_attempt - attempt.asked))
        return decide(outcome, lease, now, self._upstream.retry, self._dice)

    # ---- settling -------------------------------------------------------------------------------

    def _settle_ended(self) -> None:
        self._settling = False
        batch, self._ended = self._ended, []
        settlements = [each.settlement for each in batch]
        try:
            self._spool.settle_all(settlements, partial(self._on_settled, batch))
        except Exception as fault:  # noqa: BLE001 - each is tried apart, which tells whose it is
            self._on_settled(batch, fault)

    def _on_settled(self, batch: Sequence[Attempt], recorded: Sequence[bool] | Exception) -> None:
        if isinstance(recorded, Exception):
            for each in batch:
                self._run(self._settle_later(each, recorded))
            return
        now, ended = self._clock.now(), self._clock.monotonic()
        for each, is_recorded in zip(batch, recorded, strict=True):
            self._report(each, is_recorded, now, ended)

    def _report(self, attempt: Attempt, recorded: bool, now: datetime, ended: float) -> None:
        """Report a settled attempt; `now` and `ended` are the present time by both clocks."""
        lease, event, settlement = attempt.lease, attempt.lease.event, attempt.settlement
        decision, outcome = settlement.decision, settlement.outcome
        due = decision.due if recorded and isinstance(decision, RetryAt) else None
        delay = None
        if outcome.name == "delivered":
            # The wall clock may have been set back meanwhile.
            delay = max(0.0, (now - event.received_at).total_seconds())
        queued = None
        if lease.round_attempt == 1:
            queued = max(0.0, (attempt.began - lease.round_started_at).total_seconds())
        settling = ended - attempt.started - attempt.duration
        self._observer.attempted(
            AttemptRecord(
                event.id,
                event.endpoint,
                event.provider,
                event.upstream,
                lease.attempt,
                outcome.name,
                outcome.status,
                outcome.cause,
                _DECISIONS[type(decision)] if recorded else "lost",
                due,
                attempt.duration,
                delay,
                queued,
                max(0.0, settling),
                settlement.reason,
            ),
            now,
        )
        attempt.on_settled(recorded and due is None)

    # ---- what the spool does not write at once --------------------------------------------------

    async def _settle_later(self, attempt: Attempt, fault: Exception) -> None:
        """Settle one outcome apart, after an error."""
        ended = attempt.settlement
        settle = partial(self._spool.settle, attempt.lease, ended.decision, ended.outcome)
        try:
            recorded = await self._writes.write(attempt.lease, settle, fault)
            self._report(attempt, recorded, self._clock.now(), self._clock.monotonic())
        except Exception as unforeseen:  # noqa: BLE001 - it is due again when the lease has expired
            self._observer.dispatch_error(self._upstream.name, attempt.lease.event.id, unforeseen)
            attempt.on_settled(False)

    async def _postpone(self, attempt: Attempt, limited: RateLimited) -> None:
        """Release the event as untried; what it waits does not count against `give_up_after`."""
        due = self._clock.steady() + timedelta(seconds=limited.seconds)
        try:
            await self._writes.write(
                attempt.lease, partial(self._spool.release, attempt.lease, due)
            )
        except Exception as fault:  # noqa: BLE001 - it is due again when the lease has expired
            self._observer.dispatch_error(self._upstream.name, attempt.lease.event.id, fault)
        attempt.on_settled(False)
