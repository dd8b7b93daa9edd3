"""Proxy mode: pass on while the sender waits, answer with the upstream's answer, record it.

There is no retry and no breaker: the sender is told at once, and decides whether it comes again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Protocol

from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable, UpstreamOverloaded
from relay.core.event import Lease, ProxiedDelivery, ProxyResponse, Unreachable, event_of
from relay.core.request import VerifiedDelivery
from relay.delivery.attempt import Observer, attempt_record
from relay.delivery.sender import Cause
from relay.spool import Spool, SpoolBroken
from relay.telemetry import Telemetry

# ---- passing on -----------------------------------------------------------------------------


class ProxySender(Protocol):
    """Makes one attempt and brings the answer (`relay.delivery.sender.HttpSender`)."""

    async def ask(self, lease: Lease) -> ProxyResponse:
        """Send the event once; return what came of it within its timeout."""


@dataclass(slots=True)
class ProxyUpstream:
    """The way to one upstream.

    asker: has at most `concurrency` requests under way.
    timeout: the most that one attempt takes, waiting for its turn included.
    in_hand: how many deliveries are under way or wait for their turn.
    """

    asker: ProxySender
    timeout: timedelta
    concurrency: int
    in_hand: int = field(default=0, init=False)


class ProxyForwarder:
    """Passes deliveries on and tells what came of it.

    As many deliveries as an upstream takes at a time may wait for their turn; one that finds more
    is turned away at once, for its sender would not wait so long.
    """

    def __init__(
        self,
        *,
        proxy_upstreams: Mapping[str, ProxyUpstream],
        clock: Clock,
        observer: Observer,
        note: Callable[[ProxiedDelivery], None],
    ) -> None:
        """Take the parts.

        note: is handed everything that was passed on, for the history; it neither raises nor waits.
        """
        self._proxy_upstreams = proxy_upstreams
        self._clock = clock
        self._observer = observer
        self._note = note

    async def forward(self, delivery: VerifiedDelivery) -> ProxyResponse:
        """Send this delivery once, as an event is sent, and return what its sender may have.

        Whatever goes wrong on the way is `Unreachable`. An attempt that is cancelled is told and
        noted too, since the upstream may have it.

        Raises:
            UpstreamOverloaded: too many are under way; nothing was sent and nothing is noted.
        """
        proxy_upstream = self._proxy_upstreams[delivery.upstream]
        if proxy_upstream.in_hand >= 2 * proxy_upstream.concurrency:
            message = (
                f"{proxy_upstream.in_hand} deliveries are being passed on to {delivery.upstream}"
            )
            raise UpstreamOverloaded(message)
        lease = _lease(delivery, proxy_upstream.timeout)
        answer = ProxyResponse(Unreachable(Cause.SHUTDOWN))
        began = self._clock.monotonic()
        proxy_upstream.in_hand += 1
        try:
            answer = await proxy_upstream.asker.ask(lease)
        except Exception as fault:  # noqa: BLE001 - the sender must be answered, and told the same
            self._observer.dispatch_error(delivery.upstream, delivery.event_id, fault)
            answer = ProxyResponse(Unreachable(Cause.FAULT))
        finally:
            proxy_upstream.in_hand -= 1
            now = self._clock.now()
            duration = self._clock.monotonic() - began
            self._observer.attempted(
                attempt_record(lease, answer.outcome, "passed", duration=duration, now=now)
            )
            self._note(ProxiedDelivery(delivery, answer.outcome, now))
        return answer


def _lease(delivery: VerifiedDelivery, timeout: timedelta) -> Lease:
    """Return the right to send this delivery once: it is nobody else's."""
    received = delivery.delivery.head.received_at
    return Lease(
        event_of(delivery),
        attempt=1,
        round_attempt=1,
        round_started_at=received,
        until=received + timeout,
    )


# ---- recording, behind the answers ----------------------------------------------------------
# It is history for people, not a promise to a sender. What a crash, a dead disk or a flood leaves
# unwritten is lost; everything but the crash is counted and logged.

#: What may wait to be written. Each delivery counts with its body, and this much for the rest.
_MAX_BUFFER_BYTES = 64 * 1024 * 1024
_OVERHEAD_BYTES = 4096

#: The most that is written at once, so that a sender's own write never waits long behind it.
_BATCH_SIZE = 200

#: Seconds in which a batch gathers, and between tries while the spool is unavailable.
_BATCH_WINDOW = 0.05
_RETRY_INTERVAL = 1.0


class ProxiedHistory:
    """Records deliveries that were passed on, in batches. `run` it, and `flush` it at the end."""

    def __init__(
        self, spool: Spool, *, clock: Clock, telemetry: Telemetry, room: int = _MAX_BUFFER_BYTES
    ) -> None:
        """Take the parts. `room`: bytes that may wait."""
        self._spool = spool
        self._clock = clock
        self._telemetry = telemetry
        self._room = room
        self._waiting: deque[ProxiedDelivery] = deque()
        self._more = asyncio.Event()

    def note(self, passed: ProxiedDelivery) -> None:
        """Take this to be written; without room for it, it is lost. Neither raises nor waits."""
        if _size(passed) > self._room:
            self._lose(passed, "too much waits to be written")
            return
        self._room -= _size(passed)
        self._waiting.append(passed)
        self._more.set()

    async def run(self) -> None:
        """Write until cancelled; what waits then is left to `flush`.

        Raises:
            SpoolBroken: nothing can be written any more without a restart.
        """
        while True:
            await self._more.wait()
            await self._clock.sleep(_BATCH_WINDOW)
            while self._waiting:
                try:
                    await self._write(self._batch())
                except SpoolBroken:
                    raise
                except SpoolUnavailable as error:
                    self._telemetry.log.warning("history_delayed", detail=str(error))
                    await self._clock.sleep(_RETRY_INTERVAL)
            self._more.clear()

    async def flush(self) -> None:
        """Write what waits; what cannot be written now is lost. Call it when `run` has ended."""
        try:
            while self._waiting:
                await self._write(self._batch())
        except SpoolUnavailable as error:
            for passed in self._waiting:
                self._lose(passed, str(error))
            self._waiting.clear()

    def _batch(self) -> list[ProxiedDelivery]:
        return list(islice(self._waiting, _BATCH_SIZE))

    async def _write(self, batch: Sequence[ProxiedDelivery]) -> None:
        """Record these, the oldest that wait, and take them off.

        When this is cut short nobody knows whether they were recorded; to do it again is no harm.
        """
        try:
            await self._spool.record_proxied(batch)
        except SpoolUnavailable:
            raise
        except Exception as fault:  # noqa: BLE001 - one that cannot be written must not keep the others
            if len(batch) > 1:
                for each in batch:
                    await self._write([each])
                return
            self._telemetry.log.fault("history_fault", fault)
            self._lose(batch[0], "it cannot be written")
        for _ in batch:
            self._room += _size(self._waiting.popleft())

    def _lose(self, passed: ProxiedDelivery, why: str) -> None:
        delivery = passed.delivery
        self._telemetry.history_lost(delivery.delivery.endpoint, delivery.event_id, why)


def _size(passed: ProxiedDelivery) -> int:
    return len(passed.delivery.delivery.body) + _OVERHEAD_BYTES
