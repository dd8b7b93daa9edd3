"""Keeping refused deliveries of allowed senders; releasing them once the configuration is fixed.

A wrong key, a wrong clock or a rule that is too narrow refuses genuine deliveries. Their bytes are
kept and can be verified again; there is no other way to release them. So are those of an unknown
address whose signature fits; they are released by themselves once that address is known.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

from relay.allowlist import Entry, Mode
from relay.core.clock import Clock
from relay.core.errors import Reason, Refusal, SpoolUnavailable
from relay.core.request import ClientAddress, Delivery, Headers, References, VerifiedDelivery
from relay.core.secret import Secret
from relay.ingest.admission import (
    COMMON_HEADERS,
    Endpoint,
    check_method,
    match_address,
    suffix_of,
    verify_delivery,
)
from relay.ingest.authenticated_knock import PROVEN_BUT_UNKNOWN
from relay.ingest.challenges import check_event
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.outcomes import goes_nowhere
from relay.ingest.refusal_share import UnvouchedShare, is_vouched
from relay.spool import Conflict, Duplicate, PutResult, Spool, SpoolBroken, Stored
from relay.spool.refusals import (
    RELEASABLE,
    AlreadyReleased,
    RefusalLimits,
    RefusalQuery,
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

#: What a proxy says of the URL that was called; they tell what `public_url` should be.
_URL_FIELDS: Final = ("X-Forwarded-Host", "X-Forwarded-Prefix")


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
        self._share = UnvouchedShare()
        limits = replace(_WRITE_LIMITS, buffer=buffer_bytes)
        self._write_behind = WriteBehind[Refused](self, limits, clock, attrgetter("size"))

    def note(self, endpoint: Endpoint, delivery: Delivery, refusal: Refusal) -> None:
        """Buffer this refusal if a release may succeed later. Neither raises nor blocks.

        Deliveries with a token as proof are dropped: a token may not be stored, and without it
        nothing can be verified. So is what holds a token by its kind.
        """
        if refusal.reason in RELEASABLE and not endpoint.token:
            self._note(endpoint, delivery, refusal, endpoint.inspector.references)

    def note_unknown(self, endpoint: Endpoint, event: VerifiedDelivery) -> str | None:
        """Buffer a delivery that was refused only because its address is unknown; return its id.

        A token that proved it is not kept: that it did, is. None: it holds another one, and is
        dropped. Neither raises nor blocks.
        """
        refusal = Refusal(Reason.SOURCE_NOT_ALLOWED, PROVEN_BUT_UNKNOWN)
        verification = event.verification
        return self._note(
            endpoint,
            event.delivery,
            refusal,
            lambda _: verification.references,
            verification.secret,
        )

    def _note(
        self,
        endpoint: Endpoint,
        delivery: Delivery,
        refusal: Refusal,
        references: Callable[[Delivery], References],
        secret: int | None = None,
    ) -> str | None:
        headers = headers_to_keep(endpoint, delivery.head.headers)
        if headers is None or _holds_token(endpoint, delivery):
            return None
        refusal_id = self._new_id(delivery.head.received_at)
        refused = _to_keep(refusal_id, endpoint, delivery, refusal, headers)
        vouched = is_vouched(endpoint, delivery, refusal, self._share)
        fits = secret is not None
        if not vouched and not self._share.take(delivery.client.address, refused.size):
            self._lost["nothing vouches for their senders, and there are too many"] += 1
            return None
        self._write_behind.add(
            replace(
                refused,
                signature_fits=fits,
                secret=secret,
                references=references(delivery),
                vouched=vouched,
            )
        )
        return refusal_id

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
        self._share.renew()
        for why, number in self._lost.items():
            self._telemetry.log.warning("refusals_lost", number=number, detail=why)
        self._lost.clear()


def _holds_token(endpoint: Endpoint, delivery: Delivery) -> bool:
    """Return whether a token stands in the body of what is posted to this path."""
    return any(each.tokens and each.path == delivery.remainder for each in endpoint.shapes)


def headers_to_keep(endpoint: Endpoint, headers: Headers) -> Headers | None:
    """Return only the header fields that a new verification needs, or an explanation of it.

    None when one of them may hold a token: a delivery is kept with all of its proof, or not at all.
    """
    names = ("Host", *_URL_FIELDS, *COMMON_HEADERS, *endpoint.headers)
    kept = headers.only({name.lower() for name in names})
    for value in kept.values("Authorization"):
        if not value.lower().startswith(_SIGNATURE):
            return None
    return kept


def _kept_target(endpoint: Endpoint, delivery: Delivery) -> str:
    """Return the target without its query, unless a release needs it: queries can hold tokens.

    It is needed where it is signed, and where it goes to the upstream.
    """
    head = delivery.head
    forwarded = len(delivery.suffix.partition("?")[2]) > 0
    return head.target if forwarded or endpoint.inspector.signs_query else head.path


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
# skipped, but for what was established of a delivery that proved itself: its token, which is not
# kept, and its address, which the person decides about who releases it.


def verifying_kept(endpoint: Endpoint, refused: Refused) -> Endpoint:
    """Return the endpoint as it can verify what is kept of this refusal.

    Raises:
        Refusal: it cannot, since its sender proves itself by a token, which is not kept.
    """
    if not endpoint.token:
        return endpoint
    if refused.signature_fits and endpoint.tokenless is not None:
        # It was right when it came: everything else is verified again.
        return replace(endpoint, inspector=endpoint.tokenless)
    # A token is never kept, and its absence must not pass for anything.
    detail = "the sender proves itself by a token now, and tokens are not kept"
    raise Refusal(Reason.SIGNATURE_MISSING, detail)


class RefusalReleaser:
    """Verifies kept refusals again and stores those that pass as events.

    store: the kept refusals. secrets: returns all of the configuration, to mask them.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        paths: Callable[[], EndpointPaths[Endpoint]],
        secrets: Callable[[], Iterable[Secret]],
        clock: Clock,
        new_id: Callable[[datetime], str],
        unrouted: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take the parts. unrouted: called with the endpoint of a new event that goes nowhere."""
        self.spool = spool
        self.store = spool.refusals
        self.secrets = secrets
        self._unrouted = unrouted
        self._paths = paths
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
        stored = await self.put(event)
        if isinstance(stored, Conflict):
            detail = f"event {stored.id} has this key and says something else"
            return await self._refuse_again(refusal_id, Refusal(Reason.EVENT_CONFLICT, detail))
        await self.store.mark_released(refusal_id, stored.id, self._clock.now())
        if isinstance(stored, Duplicate):
            return Released(stored.id, duplicate=True, revived=stored.revived)
        return Released(stored.id, duplicate=False)

    async def put(self, event: VerifiedDelivery) -> PutResult:
        """Do as `Spool.put` with an event that was refused before."""
        stored = await self.spool.put(event)
        if isinstance(stored, Stored) and goes_nowhere(event):
            self._unrouted(event.delivery.endpoint)
        return stored

    async def _refuse_again(self, refusal_id: str, refusal: Refusal) -> StillRefused:
        now = self._clock.now()
        await self.store.mark_refused(refusal_id, refusal.reason, refusal.detail, now)
        return StillRefused(refusal.reason, refusal.detail)

    def _verify(self, refused: Refused) -> VerifiedDelivery:
        head = refused.head
        match = self._paths().find(head)
        endpoint = match.endpoint
        check_method(match, head)
        # Whoever releases what only its address spoke against has been shown that address.
        if endpoint.mode is Mode.ENFORCE and not refused.signature_fits:
            found = match_address(endpoint, refused.client)
            if isinstance(found, Refusal):
                detail = f"{refused.client.address} is not on the allowlist any more"
                raise Refusal(Reason.SOURCE_NOT_ALLOWED, detail)
        endpoint = verifying_kept(endpoint, refused)
        delivery = Delivery(
            endpoint.name,
            head,
            refused.client,
            match.remainder,
            refused.body,
            endpoint.json_limits,
            suffix_of(endpoint, head, match.remainder),
        )
        check_event(endpoint, delivery)
        event = verify_delivery(endpoint, delivery, self._new_id(self._clock.now()))
        if match.endpoint.token:
            verified = replace(event.verification, secret=refused.secret)
            event = replace(event, verification=verified)
        if match.proxied and not event.verification.test:
            detail = "this endpoint passes on what it gets now, and its sender does not wait"
            raise Refusal(Reason.UNKNOWN_ENDPOINT, detail)
        return event


# ---- releasing by itself --------------------------------------------------------------------

#: For how long a delivery waits for its address to become known, and how many do.
_WAIT: Final = timedelta(minutes=10)
_MAX_WAITING: Final = 256

#: Seconds between two looks at the allowlists, while something waits.
_LOOK_INTERVAL: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """What waits until a monotonic time.

    kept: the id of the refusal; of what may not be kept, since it holds a token, its event.
    """

    endpoint: str
    client: ClientAddress
    until: float
    kept: str | VerifiedDelivery


class AutoReleaser:
    """Releases what proved itself as soon as a look-up, or a new configuration, has its address."""

    def __init__(
        self,
        releaser: RefusalReleaser,
        *,
        endpoints: Callable[[], Iterable[Endpoint]],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """Take the parts. endpoints: returns those of the present configuration."""
        self._releaser = releaser
        self._endpoints = endpoints
        self._clock = clock
        self._telemetry = telemetry
        self._waiting: list[_Waiting] = []
        self._news = asyncio.Event()

    def add(self, endpoint: Endpoint, event: VerifiedDelivery, refusal_id: str | None) -> None:
        """Release this within the time, once its address is known. Neither raises nor blocks."""
        until = self._clock.monotonic() + _WAIT.total_seconds()
        kept = event if refusal_id is None else refusal_id
        self._add(_Waiting(endpoint.name, event.delivery.client, until, kept))

    def _add(self, waiting: _Waiting) -> None:
        self._waiting = [*self._waiting[-_MAX_WAITING + 1 :], waiting]
        self._news.set()

    async def run(self) -> None:
        """Take what waited before a restart; then release, until cancelled.

        Raises:
            SpoolBroken: nothing can be written any more without a restart.
        """
        with suppress(SpoolUnavailable):
            await self._resume()
        while True:
            await self._news.wait()
            await self._clock.sleep(_LOOK_INTERVAL)
            await self.look()

    async def _resume(self) -> None:
        """Let what was kept within the time before a restart wait for the rest of it."""
        query = RefusalQuery(reason=Reason.SOURCE_NOT_ALLOWED, limit=_MAX_WAITING)
        now, since = self._clock.monotonic(), self._clock.now() - _WAIT
        for each in reversed((await self._releaser.store.page(query)).refusals):
            kept = each.refused
            left = (kept.head.received_at - since).total_seconds()
            if kept.signature_fits and each.released_as is None and left > 0:
                until = now + min(left, _WAIT.total_seconds())
                self._add(_Waiting(kept.endpoint, kept.client, until, kept.id))

    async def look(self) -> None:
        """Release what has its address on a list now, and forget what has waited in vain."""
        waiting, self._waiting = self._waiting, []
        self._news.clear()
        endpoints = {each.name: each for each in self._endpoints()}
        for each in waiting:
            endpoint = endpoints.get(each.endpoint)
            if endpoint is None or self._clock.monotonic() > each.until:
                continue
            known = isinstance(match_address(endpoint, each.client), Entry)
            if not known or not await self._release(each):
                self._add(each)

    async def _release(self, each: _Waiting) -> bool:
        """Return whether it need not be tried again."""
        try:
            if isinstance(each.kept, VerifiedDelivery):
                event_id = (await self._releaser.put(each.kept)).id
            else:
                result = await self._releaser.release(each.kept)
                if not isinstance(result, Released):
                    # It is not written yet, or it is refused for another reason now.
                    return result is not None
                event_id = result.event_id
        except SpoolBroken:
            raise
        except SpoolUnavailable:
            return False
        client = str(each.client.address)
        log = self._telemetry.log
        log.info("refusal_released", endpoint=each.endpoint, id=event_id, client=client)
        return True
