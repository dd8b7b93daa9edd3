"""Releasing a kept refusal: the received bytes are verified again, as if they came now.

Everything is judged under the present configuration: the path, the method, the address, the
signature, the shape. Only time stands still: what was signed is compared with the time of receipt.
There is no way around a check.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from relay.clock import Clock
from relay.errors import Reason, Refusal
from relay.ingest import Endpoint, verified
from relay.kept import RefusalStore, Refused
from relay.model import Delivery, VerifiedDelivery
from relay.routing import Routes
from relay.secret import Secret
from relay.sources import Mode
from relay.spool import Conflict, Duplicate, Spool


@dataclass(frozen=True, slots=True)
class Released:
    """It is an event now. `duplicate`: it was one already, of which this is a copy."""

    event_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class StillRefused:
    """It stays refused, for the reason that it has now."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class ReleasedBefore:
    """Somebody has released it already."""

    event_id: str


Result = Released | StillRefused | ReleasedBefore


class ReleaseDesk:
    """Releases refusals, and shows them."""

    def __init__(
        self,
        store: RefusalStore,
        spool: Spool,
        *,
        routes: Callable[[], Routes[Endpoint]],
        secrets: Callable[[], Iterable[Secret]],
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        """Take the parts.

        routes: gives those of the present configuration. secrets: gives all that it holds.
        """
        self.store = store
        self.secrets = secrets
        self._spool = spool
        self._routes = routes
        self._clock = clock
        self._new_id = new_id

    async def release(self, refusal_id: str) -> Result | None:
        """Verify this refusal anew and store it as an event if it passes; None if unknown.

        It is stored before it counts as released: to do it again after a crash finds the copy.

        Raises:
            SpoolUnavailable: nobody knows what became of it; to do it again is no harm.
        """
        kept = await self.store.get(refusal_id)
        if kept is None:
            return None
        if kept.released_as is not None:
            return ReleasedBefore(kept.released_as)
        try:
            event = self._verify(kept.refused)
        except Refusal as refusal:
            return await self._stays(refusal_id, refusal)
        stored = await self._spool.put(event)
        if isinstance(stored, Conflict):
            detail = f"event {stored.id} has this key and says something else"
            return await self._stays(refusal_id, Refusal(Reason.EVENT_CONFLICT, detail))
        await self.store.released(refusal_id, stored.id, self._clock.now())
        return Released(stored.id, duplicate=isinstance(stored, Duplicate))

    async def _stays(self, refusal_id: str, refusal: Refusal) -> StillRefused:
        now = self._clock.now()
        await self.store.still(refusal_id, refusal.reason, refusal.detail, now)
        return StillRefused(refusal.reason, refusal.detail)

    def _verify(self, refused: Refused) -> VerifiedDelivery:
        head = refused.head
        route = self._routes().find(head)
        endpoint = route.endpoint
        if head.method not in route.methods:
            raise Refusal(Reason.METHOD_NOT_ALLOWED)
        address = refused.client.address
        if endpoint.mode is Mode.ENFORCE and endpoint.allowlist.match(address) is None:
            detail = f"{address} is not on the allowlist any more"
            raise Refusal(Reason.SOURCE_NOT_ALLOWED, detail)
        if endpoint.token:
            # A token is never kept, and its absence must not pass for anything.
            detail = "the sender proves itself by a token now, and tokens are not kept"
            raise Refusal(Reason.SIGNATURE_MISSING, detail)
        delivery = Delivery(endpoint.name, head, refused.client, route.remainder, refused.body)
        event = verified(endpoint, delivery, self._new_id)
        if route.proxied and not event.evidence.test:
            detail = "this endpoint passes on what it gets now, and its sender does not wait"
            raise Refusal(Reason.UNKNOWN_ENDPOINT, detail)
        return event
