"""The retry rule: what an attempt's outcome leads to: done, retry at a time, held or dead.

Pure: outcome, time and random numbers are arguments. Pauses come from the schedule with a jitter of
a tenth, or from the upstream's Retry-After. A provider that knows nothing of an event yet is asked
by a schedule of its own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from relay.core.event import (
    AttemptResult,
    Dead,
    Decision,
    Delivered,
    Done,
    Held,
    Lease,
    Rejected,
    RetryAt,
    Unconfirmed,
)
from relay.core.rate_limit import backoff_pause

_DONE = Done()

#: The pauses after a provider has not confirmed an event yet; the last one repeats.
NOT_YET_SCHEDULE = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
)

#: The longest time that a retry is put off for the rate of its upstream.
MAX_SPACING = timedelta(hours=1)

#: A Retry-After of an upstream counts for no longer than this.
MAX_RETRY_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long an event is attempted.

    schedule: the delay after the first attempt, the second, and so on; the last one repeats.
    give_up_after: counted from `Lease.round_started_at`; then the event is dead.
    final: statuses of an answer after which the event is dead at once.
    spacing: the time between two attempts at the rate of the upstream; 0 without one. A retry comes
        no sooner than after one of these, the next one after two, then four, up to `MAX_SPACING`:
        events that fail again and again leave room for the others.

    Raises:
        ValueError: the schedule is empty, or a time is not positive.
    """

    schedule: tuple[timedelta, ...]
    give_up_after: timedelta
    final: frozenset[int] = frozenset()
    spacing: timedelta = timedelta()

    def __post_init__(self) -> None:
        if not self.schedule:
            raise ValueError("a retry schedule needs at least one delay")
        if min(*self.schedule, self.give_up_after) <= timedelta(0):
            raise ValueError("delays of a retry schedule and give_up_after must be positive")


def decide_at_once(outcome: AttemptResult) -> Decision | None:
    """Return the decision where it depends on the outcome alone; None where `decide` has to say."""
    if isinstance(outcome, Delivered):
        return _DONE
    if isinstance(outcome, Unconfirmed) and outcome.final:
        return Held()
    return None


def decide(
    outcome: AttemptResult, lease: Lease, now: datetime, policy: RetryPolicy, dice: Random
) -> Decision:
    """Return the decision for an event after the attempt of this lease.

    A retry that would fall behind `give_up_after` is made then, as the last one; after that the
    event is dead. One that is not confirmed when questions end is held, and so is, at once, one
    that its provider contradicts. A final status ends it at once, whatever Retry-After says.
    """
    at_once = decide_at_once(outcome)
    if at_once is not None:
        return at_once
    if isinstance(outcome, Rejected) and outcome.status in policy.final:
        return Dead(final=True)
    end = lease.round_started_at + policy.give_up_after
    schedule = policy.schedule
    if isinstance(outcome, Unconfirmed):
        end = _questions_end(outcome, lease, policy)
        if outcome.not_yet:
            schedule = NOT_YET_SCHEDULE
    if now >= end:
        return Held() if isinstance(outcome, Unconfirmed) else Dead()
    # Events that failed together must not all come back in the same instant.
    delay = schedule[min(lease.round_attempt, len(schedule)) - 1] * dice.uniform(0.9, 1.1)
    if policy.spacing and not isinstance(outcome, Unconfirmed):
        delay = max(delay, _apart(policy.spacing, lease.round_attempt))
    if isinstance(outcome, Rejected | Unconfirmed) and outcome.retry_after is not None:
        delay = max(delay, min(outcome.retry_after, MAX_RETRY_AFTER))
    return RetryAt(min(now + delay, end))


def _apart(spacing: timedelta, attempts: int) -> timedelta:
    """Return the shortest delay after so many attempts where there is a rate."""
    longest = MAX_SPACING.total_seconds()
    return timedelta(seconds=backoff_pause(spacing.total_seconds(), longest, attempts - 1))


def may_go_unconfirmed(
    outcome: Unconfirmed, lease: Lease, now: datetime, policy: RetryPolicy
) -> bool:
    """Return whether an event that was not confirmed is sent all the same."""
    if outcome.final or outcome.strict:
        return False
    return now >= _questions_end(outcome, lease, policy)


def _questions_end(outcome: Unconfirmed, lease: Lease, policy: RetryPolicy) -> datetime:
    """Return when the provider is asked no more, `until` at the latest.

    An event that goes out then leaves half of `give_up_after` for the upstream to take it.
    """
    most = policy.give_up_after if outcome.strict else policy.give_up_after / 2
    end = lease.round_started_at + most
    return end if outcome.until is None else min(end, outcome.until)
