"""When to try again. Decisions only: the caller brings the outcome, the time and the dice."""

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
    RetryAt,
    Unconfirmed,
    Unreachable,
)

#: No upstream can put an event off for longer than this with Retry-After.
MAX_RETRY_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long an event is tried.

    schedule: the delay after the first try, the second, and so on; the last one repeats.
    give_up_after: from the time an event's round began; then it is dead.

    Raises:
        ValueError: the schedule is empty, or a time is not positive.
    """

    schedule: tuple[timedelta, ...]
    give_up_after: timedelta

    def __post_init__(self) -> None:
        if not self.schedule:
            raise ValueError("a retry schedule needs at least one delay")
        if min(*self.schedule, self.give_up_after) <= timedelta(0):
            raise ValueError("delays of a retry schedule and give_up_after must be positive")


def decide(
    outcome: AttemptResult, lease: Lease, now: datetime, policy: RetryPolicy, dice: Random
) -> Decision:
    """Return what becomes of an event after the try that this lease was for.

    A retry that would fall behind `give_up_after` is made then, as the last one; an event that
    has been tried so late is dead. One that is not confirmed by then is held, and so is, at once,
    one that its provider does not stand by.
    """
    if isinstance(outcome, Delivered):
        return Done()
    if isinstance(outcome, Unconfirmed) and outcome.final:
        return Held()
    end = lease.round_started_at + policy.give_up_after
    if now >= end:
        return Held() if isinstance(outcome, Unconfirmed) else Dead()
    # Events that failed together must not all come back in the same instant.
    delay = policy.schedule[min(lease.round_attempt, len(policy.schedule)) - 1] * dice.uniform(
        0.9, 1.1
    )
    if not isinstance(outcome, Unreachable) and outcome.retry_after is not None:
        delay = max(delay, min(outcome.retry_after, MAX_RETRY_AFTER))
    return RetryAt(min(now + delay, end))


def may_go_unconfirmed(lease: Lease, now: datetime, policy: RetryPolicy) -> bool:
    """Tell whether an event that may be sent without confirmation has waited long enough for it.

    That is half of `give_up_after`: the other half is left for the upstream to take it.
    """
    return now >= lease.round_started_at + policy.give_up_after / 2
