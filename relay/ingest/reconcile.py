"""Asks about one order, and stores what it learns as an event like any other.

The answer is signed as a notification is, and it goes through the same inspector: so its event key
is the one that the notification has, and the two are one event, whichever comes first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Final

from relay.clock import Clock
from relay.confirm.confirmer import StatusApi
from relay.confirm.pace import Bucket
from relay.confirm.status import Answer, Limited, NoAnswer, NotFound, Transaction, notified
from relay.errors import Refusal, RelayError
from relay.model import (
    ClientAddress,
    Delivery,
    Headers,
    RequestHead,
    VerifiedDelivery,
    Via,
)
from relay.providers import Inspector
from relay.secret import Secret
from relay.spool import Spool, Stored

#: How often an order is asked about that gets no answer, and the pauses between, in seconds.
PAUSES: Final = (1.0, 5.0)
LONGEST_PAUSE: Final = timedelta(minutes=1)

_NOBODY: Final = IPv4Address("0.0.0.0")  # noqa: S104 - nobody called
_JSON: Final = Headers((("Content-Type", "application/json"),))


class KeyRefused(RelayError):
    """The API takes none of the endpoint's keys: no other order would be answered either."""


class Result(StrEnum):
    """What came of asking about one order.

    NEW: stored as an event. KNOWN: there is such an event already.
    """

    NEW = "new"
    KNOWN = "known"
    NOT_FOUND = "not_found"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is known of one order now. `event`: the id of the event that holds it."""

    order: str
    result: Result
    event: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """The endpoint whose orders are asked about. `secrets`: at least one."""

    name: str
    path: str
    provider: str
    environment: str
    upstream: str
    inspector: Inspector
    secrets: tuple[Secret, ...]


class Reconciler:
    """Asks about orders, one after the other."""

    def __init__(
        self,
        account: Account,
        *,
        api: StatusApi,
        bucket: Bucket,
        spool: Spool,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._account = account
        self._api = api
        self._bucket = bucket
        self._spool = spool
        self._clock = clock
        self._new_id = new_id
        self._secret = 0

    async def learn(self, order: str) -> Learnt:
        """Ask about an order or transaction, and store what is said of it.

        Raises:
            KeyRefused: the API takes none of the keys.
            SpoolUnavailable: it could not be stored.
        """
        answer = await self._ask(order)
        match answer:
            case NotFound():
                return Learnt(order, Result.NOT_FOUND)
            case Limited():
                return Learnt(order, Result.ERROR, detail="too many requests")
            case NoAnswer(cause):
                return Learnt(order, Result.ERROR, detail=cause)
            case Transaction():
                if order not in {answer.order_id, answer.transaction_id}:
                    return Learnt(order, Result.ERROR, detail="the answer is about another order")
                return await self._store(order, answer)

    async def _ask(self, order: str) -> Answer:
        """Ask, again after a pause where there was no answer."""
        for pause in PAUSES:
            answer = await self._ask_with_every_key(order)
            if isinstance(answer, Limited) and answer.retry_after is not None:
                wait = min(answer.retry_after, LONGEST_PAUSE).total_seconds()
                await self._clock.sleep(max(wait, pause))
            elif isinstance(answer, Limited | NoAnswer):
                await self._clock.sleep(pause)
            else:
                return answer
        return await self._ask_with_every_key(order)

    async def _ask_with_every_key(self, order: str) -> Answer:
        """Ask with the key that was taken last; with the others where it is refused."""
        secrets = self._account.secrets
        for _ in secrets:
            await self._clock.sleep(self._bucket.reserve(self._clock.monotonic()))
            answer = await self._api.ask(order, secrets[self._secret])
            if not (isinstance(answer, NoAnswer) and answer.refused):
                return answer
            self._secret = (self._secret + 1) % len(secrets)
        raise KeyRefused(f"{self._account.name}: the status API takes none of its secrets")

    async def _store(self, order: str, now: Transaction) -> Learnt:
        try:
            event = self._event(now.body)
        except Refusal as refusal:
            return Learnt(order, Result.ERROR, detail=str(refusal))
        stored = await self._spool.put(event)
        if isinstance(stored, Stored):
            return Learnt(order, Result.NEW, stored.id)
        if await self._says_otherwise(stored.id, now):
            detail = "an event of this key says another order or amount; look at it"
            return Learnt(order, Result.ERROR, stored.id, detail)
        return Learnt(order, Result.KNOWN, stored.id)

    def _event(self, body: bytes) -> VerifiedDelivery:
        """Return what an answer becomes.

        Raises:
            Refusal: it would be refused as a notification; its signature is wrong, for one.
        """
        account = self._account
        head = RequestHead("POST", account.path, _JSON, _NOBODY, self._clock.now())
        delivery = Delivery(account.name, head, ClientAddress(_NOBODY, Via.PEER), "", body)
        return VerifiedDelivery(
            event_id=self._new_id(),
            provider=account.provider,
            environment=account.environment,
            upstream=account.upstream,
            headers=_JSON,
            delivery=delivery,
            evidence=account.inspector.inspect(delivery),
            reconciled=True,
        )

    async def _says_otherwise(self, event_id: str, now: Transaction) -> bool:
        """Tell whether an event is signed for something else than what is so.

        The transaction id is not signed, so another order's notification can carry it.
        """
        found = await self._spool.get(event_id)
        said = None if found is None or found[1] is None else notified(found[1].body)
        return said is not None and (said.order_id, said.amount) != (now.order_id, now.amount)
