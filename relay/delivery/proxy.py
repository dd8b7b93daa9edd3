"""Passing deliveries on while their senders wait: one attempt, and the upstream's own answer.

There is no retry and no breaker: the sender is told at once, and decides whether it comes again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from relay.clock import Clock
from relay.errors import UpstreamOverloaded
from relay.forwarded import event_of
from relay.model import Answer, Lease, Passed, Unreachable, VerifiedDelivery
from relay.upstream.attempts import Observer, told
from relay.upstream.forward import Cause


class Asker(Protocol):
    """Makes one attempt and brings the answer (`relay.upstream.forward.Forwarder`)."""

    async def ask(self, lease: Lease) -> Answer:
        """Send the event once; return what came of it within its timeout."""


@dataclass(slots=True)
class Passage:
    """The way to one upstream.

    asker: has at most `concurrency` requests under way.
    timeout: the most that one attempt takes, waiting for its turn included.
    in_hand: how many deliveries are under way or wait for their turn.
    """

    asker: Asker
    timeout: timedelta
    concurrency: int
    in_hand: int = field(default=0, init=False)


class Passthrough:
    """Passes deliveries on and tells what came of it.

    As many deliveries as an upstream takes at a time may wait for their turn; one that finds more
    is turned away at once, for its sender would not wait so long.
    """

    def __init__(
        self,
        *,
        passages: Mapping[str, Passage],
        clock: Clock,
        observer: Observer,
        note: Callable[[Passed], None],
    ) -> None:
        """Take the parts.

        note: is handed everything that was passed on, for the history; it neither raises nor waits.
        """
        self._passages = passages
        self._clock = clock
        self._observer = observer
        self._note = note

    async def pass_on(self, delivery: VerifiedDelivery) -> Answer:
        """Send this delivery once, as an event is sent, and return what its sender may have.

        Whatever goes wrong on the way is `Unreachable`. An attempt that is cancelled is told and
        noted too, since the upstream may have it.

        Raises:
            UpstreamOverloaded: too many are under way; nothing was sent and nothing is noted.
        """
        passage = self._passages[delivery.upstream]
        if passage.in_hand >= 2 * passage.concurrency:
            message = f"{passage.in_hand} deliveries are being passed on to {delivery.upstream}"
            raise UpstreamOverloaded(message)
        lease = _lease(delivery, passage.timeout)
        answer = Answer(Unreachable(Cause.SHUTDOWN))
        began = self._clock.monotonic()
        passage.in_hand += 1
        try:
            answer = await passage.asker.ask(lease)
        except Exception as fault:  # noqa: BLE001 - the sender must be answered, and told the same
            self._observer.faulted(delivery.upstream, delivery.event_id, fault)
            answer = Answer(Unreachable(Cause.FAULT))
        finally:
            passage.in_hand -= 1
            now = self._clock.now()
            duration = self._clock.monotonic() - began
            self._observer.attempted(
                told(lease, answer.outcome, "passed", duration=duration, now=now)
            )
            self._note(Passed(delivery, answer.outcome, now))
        return answer


def _lease(delivery: VerifiedDelivery, timeout: timedelta) -> Lease:
    """Return the right to send this delivery once: it is nobody else's."""
    received = delivery.delivery.head.received_at
    return Lease(event_of(delivery), attempt=1, turn=1, since=received, until=received + timeout)
