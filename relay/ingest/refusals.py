"""Keeping refused deliveries of allowed senders; releasing them once the configuration is fixed.

A wrong key, a wrong clock or a rule that is too narrow refuses genuine deliveries. Their bytes are
kept and can be verified again; there is no other way to release them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Final

from relay.allowlist import Mode
from relay.core.clock import Clock
from relay.core.errors import Reason, Refusal, SpoolUnavailable
from relay.core.request import Delivery, Headers, VerifiedDelivery
from relay.core.secret import Secret
from relay.ingest.admission import (
    COMMON_HEADERS,
    Endpoint,
    check_method,
    match_address,
    verify_delivery,
)
from relay.ingest.routing import Routes
from relay.spool import Conflict, Duplicate, Spool
from relay.spool.refusals import (
    RELEASABLE,
    AlreadyReleased,
    RefusalLimits,
    RefusalStore,
    Refused,
    Released,
    ReleaseResult,
    StillRefused,
)
from relay.spool.write_behind import WriteBehind, WriteLimits
from relay.telemetry import Telemetry

# ---- keeping, behind the answers ------------------------------------------------------------
# Never before an answer, and never instead of one. Only a sender whose address is allowed gets this
# far, and only what a mended configuration may judge otherwise is noted. A flood, a dead disk or a
# crash loses some; no answer waits for any.

# `per_window` is there so that a flood does not keep the disk busy.
_WRITE_LIMITS: Final = WriteLimits(
    buffer=4 * 1024 * 1024, batch=50, window=0.5, retry_interval=5.0, per_window=200
)

#: How an Authorization begins that is a signature and no token.
_SIGNATURE = "hmac-sha256 "


class RefusalRecorder:
    """Keeps refused deliveries, behind their answers (`relay.spool.write_behind`).

    `run` it, and `flush` it at the end. It passes as the `Sink` of what it keeps.
    """

    def __init__(
        self,
        store: RefusalStore,
        *,
        clock: Clock,
        telemetry: Telemetry,
        new_id: Callable[[datetime], str],
        bounds: RefusalLimits,
        buffer_bytes: int = _WRITE_LIMITS.buffer,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._new_id = new_id
        self._bounds = bounds
        # How many were lost since that was last reported, by reason.
        self._lost = Counter[str]()
        limits = replace(_WRITE_LIMITS, buffer=buffer_bytes)
        self._write_behind = WriteBehind[Refused](self, limits, clock, attrgetter("size"))

    def note(self, endpoint: Endpoint, delivery: Delivery, refusal: Refusal) -> None:
        """Buffer this refusal if a release may succeed later. Neither raises nor blocks.

        Deliveries with a token as proof are dropped: a token may not be stored, and without it
        nothing can be verified.
        """
        if refusal.reason not in RELEASABLE or endpoint.token:
            return
        headers = headers_to_keep(endpoint, delivery.head.headers)
        if headers is not None:
            refusal_id = self._new_id(delivery.head.received_at)
            refused = _to_keep(refusal_id, endpoint, delivery, refusal, headers)
            self._write_behind.add(refused)

    async def run(self) -> None:
        """Keep until cancelled; what is buffered then is left to `flush`.

        Raises:
            SpoolBroken: nothing can be written any more without a restart.
        """
        await self._write_behind.run()

    async def flush(self) -> None:
        """Keep what is buffered, or lose it. Call it when `run` has ended."""
        await self._write_behind.flush()

    # ---- called by `WriteBehind` ------------------------------------------------------------

    async def write(self, batch: Sequence[Refused]) -> None:
        await self._store.keep(batch, self._bounds)

    def delayed(self, error: SpoolUnavailable) -> None:
        self._telemetry.log.warning("refusals_delayed", detail=str(error))

    def failed(self, fault: Exception) -> None:
        self._telemetry.log.fault("refusals_fault", fault)

    def lost(self, item: Refused, why: str) -> None:  # noqa: ARG002 - a flood is only counted
        self._lost[why] += 1

    def window_ended(self) -> None:
        """Report the losses, one line for each reason."""
        for why, number in self._lost.items():
            self._telemetry.log.warning("refusals_lost", number=number, detail=why)
        self._lost.clear()


def headers_to_keep(endpoint: Endpoint, headers: Headers) -> Headers | None:
    """Return only the header fields that a new verification needs.

    None when one of them may hold a token: a delivery is kept with all of its proof, or not at all.
    """
    names = ("Host", *COMMON_HEADERS, *endpoint.headers)
    kept = headers.only({name.lower() for name in names})
    for value in kept.values("Authorization"):
        if not value.lower().startswith(_SIGNATURE):
            return None
    return kept


def _kept_target(endpoint: Endpoint, delivery: Delivery) -> str:
    """Return the target without its query, unless a release needs it: queries can hold tokens.

    It is needed where it is signed, and below a prefix, where it goes to the upstream.
    """
    head = delivery.head
    return head.target if delivery.remainder or endpoint.inspector.signs_query else head.path


def _to_keep(
    refusal_id: str, endpoint: Endpoint, delivery: Delivery, refusal: Refusal, headers: Headers
) -> Refused:
    return Refused(
        id=refusal_id,
        endpoint=endpoint.name,
        provider=endpoint.provider,
        reason=refusal.reason,
        detail=refusal.detail,
        head=replace(delivery.head, target=_kept_target(endpoint, delivery), headers=headers),
        client=delivery.client,
        body=delivery.body,
    )


# ---- releasing ------------------------------------------------------------------------------
# The present configuration decides about everything: the path, the method, the address, the
# signature, the shape. Only the time is the one of receipt, for signed times. No check can be
# skipped.


class RefusalReleaser:
    """Verifies kept refusals again and stores those that pass as events.

    store: the kept refusals. secrets: returns all secrets of the configuration, to mask them.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        routes: Callable[[], Routes[Endpoint]],
        secrets: Callable[[], Iterable[Secret]],
        clock: Clock,
        new_id: Callable[[datetime], str],
    ) -> None:
        """Take the parts.

        routes: returns those of the present configuration. secrets: returns all that it holds.
        """
        self.store = spool.refusals
        self.secrets = secrets
        self._spool = spool
        self._routes = routes
        self._clock = clock
        self._new_id = new_id

    async def release(self, refusal_id: str) -> ReleaseResult | None:
        """Verify this refusal again and store it as an event if it passes; None if unknown.

        The event is stored before the refusal is marked as released, so a repeat after a crash is
        a duplicate.

        Raises:
            SpoolUnavailable: it may or may not have been released; repeating is safe.
        """
        kept = await self.store.get(refusal_id)
        if kept is None:
            return None
        if kept.released_as is not None:
            return AlreadyReleased(kept.released_as)
        try:
            event = self._verify(kept.refused)
        except Refusal as refusal:
            return await self._refuse_again(refusal_id, refusal)
        stored = await self._spool.put(event)
        if isinstance(stored, Conflict):
            detail = f"event {stored.id} has this key and says something else"
            return await self._refuse_again(refusal_id, Refusal(Reason.EVENT_CONFLICT, detail))
        await self.store.mark_released(refusal_id, stored.id, self._clock.now())
        return Released(stored.id, duplicate=isinstance(stored, Duplicate))

    async def _refuse_again(self, refusal_id: str, refusal: Refusal) -> StillRefused:
        now = self._clock.now()
        await self.store.mark_refused(refusal_id, refusal.reason, refusal.detail, now)
        return StillRefused(refusal.reason, refusal.detail)

    def _verify(self, refused: Refused) -> VerifiedDelivery:
        head = refused.head
        route = self._routes().find(head)
        endpoint = route.endpoint
        check_method(route, head)
        if endpoint.mode is Mode.ENFORCE:
            found = match_address(endpoint, refused.client)
            if isinstance(found, Refusal):
                detail = f"{refused.client.address} is not on the allowlist any more"
                raise Refusal(Reason.SOURCE_NOT_ALLOWED, detail)
        if endpoint.token:
            # A token is never kept, and its absence must not pass for anything.
            detail = "the sender proves itself by a token now, and tokens are not kept"
            raise Refusal(Reason.SIGNATURE_MISSING, detail)
        delivery = Delivery(
            endpoint.name,
            head,
            refused.client,
            route.remainder,
            refused.body,
            endpoint.json_limits,
        )
        event = verify_delivery(endpoint, delivery, self._new_id(self._clock.now()))
        if route.proxied and not event.verification.test:
            detail = "this endpoint passes on what it gets now, and its sender does not wait"
            raise Refusal(Reason.UNKNOWN_ENDPOINT, detail)
        return event
