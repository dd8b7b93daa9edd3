"""Proxy mode: forward while the sender waits, return the upstream's answer, record it.

There is no retry and no breaker: the sender gets the result at once, and may send again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import Final, Protocol

from relay.core.clock import Clock
from relay.core.concurrency import Cancel, called_back
from relay.core.errors import SpoolUnavailable, UpstreamOverloaded
from relay.core.event import ProxiedDelivery, ProxyResponse, Unreachable
from relay.core.request import VerifiedDelivery
from relay.delivery.attempt import Observer
from relay.delivery.causes import Cause
from relay.delivery.sender import Forwarding
from relay.spool import ProxiedRow, Spool
from relay.spool.write_behind import WriteBehind, WriteLimits
from relay.telemetry import Telemetry

# ---- forwarding -----------------------------------------------------------------------------


class ProxySender(Protocol):
    """Sends deliveries (`relay.delivery.sender.HttpSender`)."""

    def forward(self, forwarding: Forwarding) -> None:
        """Send its delivery once; call its `responded`, within a timeout but not at once.

        Afterwards its `drop` cancels it.
        """


@dataclass(slots=True)
class ProxyUpstream:
    """One upstream in proxy mode.

    sender: has at most `concurrency` requests under way.
    in_flight: how many deliveries are under way or wait for a connection.
    """

    sender: ProxySender
    concurrency: int
    in_flight: int = field(default=0, init=False)


class ProxyForwarder:
    """Forwards deliveries, and reports the outcome of each.

    Besides the deliveries under way, as many again may wait for a connection. Further ones are
    refused at once, since their senders would not wait so long.
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

        note: takes each forwarded delivery for the history; it neither raises nor blocks.
        """
        self._proxy_upstreams = proxy_upstreams
        self._clock = clock
        self._observer = observer
        self._note = note

    def start(self, delivery: VerifiedDelivery, done: Callable[[ProxyResponse], None]) -> Cancel:
        """Send this delivery once, as an event is sent; call `done` with the answer for its sender.

        Any error on the way is `Unreachable`. One that is cancelled is reported and recorded too,
        since the upstream may have it.

        Raises:
            UpstreamOverloaded: too many are under way; nothing was sent and nothing is recorded.
        """
        [upstream] = delivery.upstreams
        proxy_upstream = self._proxy_upstreams[upstream]
        if proxy_upstream.in_flight >= 2 * proxy_upstream.concurrency:
            message = f"{proxy_upstream.in_flight} deliveries are being passed on to {upstream}"
            raise UpstreamOverloaded(message)
        forwarding = _Forwarding(self, proxy_upstream, delivery, self._clock.monotonic(), done)
        try:
            proxy_upstream.sender.forward(forwarding)
        except Exception as fault:  # noqa: BLE001 - the sender must be answered all the same
            self._observer.dispatch_error(upstream, delivery.event_id, fault)
            failed = ProxyResponse(Unreachable(Cause.FAULT))
            forwarding.end_soon(partial(forwarding.responded, failed))
        proxy_upstream.in_flight += 1
        return forwarding.cancel

    async def forward(self, delivery: VerifiedDelivery) -> ProxyResponse:
        """Do as `start`, and return the answer."""
        return await called_back(partial(self.start, delivery))

    def end(self, forwarding: "_Forwarding", response: ProxyResponse) -> None:
        """Report and note what came of a delivery, and call `done`."""
        upstream, delivery, began = forwarding.upstream, forwarding.delivery, forwarding.began
        upstream.in_flight -= 1
        outcome, now = response.outcome, self._clock.now()
        self._observer.forwarded(delivery, outcome, now, self._clock.monotonic() - began)
        self._note(ProxiedDelivery(delivery, outcome, now))
        forwarding.tell(response)


class _Forwarding(Forwarding):
    """A delivery that is under way, and whom to tell."""

    def __init__(
        self,
        forwarder: ProxyForwarder,
        upstream: ProxyUpstream,
        delivery: VerifiedDelivery,
        began: float,
        done: Callable[[ProxyResponse], None],
    ) -> None:
        self.delivery = delivery
        self.forwarder = forwarder
        self.upstream = upstream
        self.began = began
        self.tell = done

    def responded(self, response: ProxyResponse) -> None:
        self.forwarder.end(self, response)

    def cancel(self) -> None:
        """Drop it, and report that; nobody waits for an answer any more."""
        self.drop()
        self.tell = _ignore
        self.forwarder.end(self, ProxyResponse(Unreachable(Cause.SHUTDOWN)))


def _ignore(response: ProxyResponse) -> None:
    """Tell nobody: the sender is gone."""


# ---- recording, behind the answers ----------------------------------------------------------

_WRITE_LIMITS: Final = WriteLimits(
    buffer=64 * 1024 * 1024, batch=500, window=0.05, retry_interval=1.0
)


class ProxiedHistory:
    """Records forwarded deliveries, behind their answers (`relay.spool.write_behind`).

    Each becomes a few values at once, so that none of its objects lives until it is written.
    `run` it, and `flush` it at the end. It passes as the `Sink` of the rows.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        clock: Clock,
        telemetry: Telemetry,
        buffer_bytes: int = _WRITE_LIMITS.buffer,
    ) -> None:
        self._spool = spool
        self._telemetry = telemetry
        limits = replace(_WRITE_LIMITS, buffer=buffer_bytes)
        self._write_behind = WriteBehind[ProxiedRow](self, limits, clock, itemgetter(2))

    def note(self, proxied: ProxiedDelivery) -> None:
        """Buffer a delivery to be recorded; without room it is lost. Neither raises nor blocks."""
        self._write_behind.add(self._spool.proxied_row(proxied))

    async def run(self) -> None:
        """Record until cancelled; what is buffered then is left to `flush`.

        Raises:
            SpoolBroken: nothing can be written any more without a restart.
        """
        await self._write_behind.run()

    async def flush(self) -> None:
        """Record what is buffered, or lose it. Call it when `run` has ended."""
        await self._write_behind.flush()

    # ---- called by `WriteBehind` ------------------------------------------------------------

    async def write(self, batch: Sequence[ProxiedRow]) -> None:
        await self._spool.record_proxied(batch)

    def delayed(self, error: SpoolUnavailable) -> None:
        self._telemetry.log.warning("history_delayed", detail=str(error))

    def failed(self, fault: Exception) -> None:
        self._telemetry.log.fault("history_fault", fault)

    def lost(self, item: ProxiedRow, why: str) -> None:
        endpoint, event_id, *_ = item
        self._telemetry.history_lost(endpoint, event_id, why)

    def window_ended(self) -> None:
        """Nothing is left to report: each loss has been."""
