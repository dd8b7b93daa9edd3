"""Reconciliation: ask a provider's status API about orders, and store its answers as events.

For orders whose notifications never came. It may run beside `relay run` on the same spool.
"""

import unicodedata
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import orjson

from relay.core.clock import Clock
from relay.core.errors import Refusal, RelayError
from relay.core.rate_limit import TokenBucket
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    Keep,
    RequestHead,
    VerifiedDelivery,
    Via,
)
from relay.core.secret import Secret
from relay.ingest.admission import verify_delivery
from relay.ingest.upstream_routes import UpstreamRoute
from relay.providers import Inspector
from relay.providers.midtrans.status import (
    Answer,
    Limited,
    NoAnswer,
    NotFound,
    StatusApi,
    Transaction,
    as_notification,
    is_same_amount,
    notified_transaction,
)
from relay.spool import Spool, Stored

# ---- reconciling ----------------------------------------------------------------------------
# The answer is signed as a notification is, and it goes through the same inspector: so its event
# key is the one that the notification has, and the two are one event, whichever comes first.

#: Seconds before each retry of an order without an answer; and the longest wait by Retry-After.
PAUSES: Final = (1.0, 5.0)
MAX_PAUSE: Final = timedelta(minutes=1)

_NO_PEER: Final = IPv4Address("0.0.0.0")  # noqa: S104 - nobody called
_JSON: Final = Headers((("Content-Type", "application/json"),))


_OTHER: Final = "the answer is about another order"
_NAMELESS: Final = "the answer names no order; ask by the order id"


class KeyRefused(RelayError):
    """The API refuses all of the endpoint's keys; it would for every other order, too."""


class Result(StrEnum):
    """The result for one order.

    NEW: stored as an event. KNOWN: the event is in the spool already.
    """

    NEW = "new"
    KNOWN = "known"
    NOT_FOUND = "not_found"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """The result for one order. `event`: the id of the new or known event."""

    order: str
    result: Result
    event: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ReconcileTarget:
    """The endpoint whose orders are asked about. `secrets`: at least one.

    key: the one to ask with; None for the secrets, whichever the API accepts.

    headers, confirm, keep: as of an endpoint; an answer of the API has no header fields of a
        sender.
    """

    name: str
    path: str
    provider: str
    environment: str
    upstreams: tuple[str, ...]
    inspector: Inspector
    secrets: tuple[Secret, ...]
    key: Secret | None = None
    headers: tuple[str, ...] = ()
    confirm: bool = False
    keep: Keep = Keep.ALL
    routes: tuple[UpstreamRoute, ...] = ()


class Reconciler:
    """Asks the status API about orders, one after the other, within its rate limit."""

    def __init__(
        self,
        target: ReconcileTarget,
        *,
        api: StatusApi,
        bucket: TokenBucket,
        spool: Spool,
        clock: Clock,
        new_id: Callable[[datetime], str],
    ) -> None:
        self._target = target
        self._api = api
        self._bucket = bucket
        self._spool = spool
        self._clock = clock
        self._new_id = new_id
        self._keys = target.secrets if target.key is None else (target.key,)
        self._accepted = 0

    async def reconcile(self, order: str) -> ReconcileResult:
        """Ask about an order or transaction id, and store the answer as an event.

        Raises:
            KeyRefused: the API refuses all keys.
            SpoolUnavailable: it could not be stored.
        """
        answer = await self._ask(order)
        match answer:
            case NotFound():
                return ReconcileResult(order, Result.NOT_FOUND)
            case Limited():
                return ReconcileResult(order, Result.ERROR, detail="too many requests")
            case NoAnswer(cause):
                return ReconcileResult(order, Result.ERROR, detail=cause)
            case Transaction():
                body = as_notification(
                    answer, order, secrets=self._target.secrets, used=self._keys[self._accepted]
                )
                if body is not None:
                    return await self._store(order, body)
                unnamed = answer.names_itself_twice and answer.order_id == order
                return ReconcileResult(order, Result.ERROR, detail=_NAMELESS if unnamed else _OTHER)

    async def _ask(self, order: str) -> Answer:
        """Ask, with retries after a pause while there is no answer."""
        for pause in PAUSES:
            answer = await self._ask_with_every_key(order)
            if isinstance(answer, Limited) and answer.retry_after is not None:
                wait = min(answer.retry_after, MAX_PAUSE).total_seconds()
                await self._clock.sleep(max(wait, pause))
            elif isinstance(answer, Limited | NoAnswer):
                await self._clock.sleep(pause)
            else:
                return answer
        return await self._ask_with_every_key(order)

    async def _ask_with_every_key(self, order: str) -> Answer:
        """Ask with the key that was accepted last; with the others when it is refused."""
        keys = self._keys
        for _ in keys:
            await self._clock.sleep(self._bucket.reserve(self._clock.monotonic()))
            answer = await self._api.ask(order, keys[self._accepted])
            if not (isinstance(answer, NoAnswer) and answer.refused):
                return answer
            self._accepted = (self._accepted + 1) % len(keys)
        raise KeyRefused(f"{self._target.name}: the status API takes none of its secrets")

    async def _store(self, order: str, body: bytes) -> ReconcileResult:
        try:
            event = self._event(body)
        except Refusal as refusal:
            return ReconcileResult(order, Result.ERROR, detail=str(refusal))
        stored = await self._spool.put(event)
        if isinstance(stored, Stored):
            return ReconcileResult(order, Result.NEW, stored.id)
        if await self._contradicts(stored.id, body):
            detail = "an event of this key says another order or amount; look at it"
            return ReconcileResult(order, Result.ERROR, stored.id, detail)
        return ReconcileResult(order, Result.KNOWN, stored.id)

    def _event(self, body: bytes) -> VerifiedDelivery:
        """Verify an answer as a notification and return its event.

        Raises:
            Refusal: with the reason of the first check that failed.
        """
        target = self._target
        now = self._clock.now()
        head = RequestHead("POST", target.path, _JSON, _NO_PEER, now)
        delivery = Delivery(target.name, head, ClientAddress(_NO_PEER, Via.PEER), "", body)
        return verify_delivery(target, delivery, self._new_id(now), reconciled=True)

    async def _contradicts(self, event_id: str, body: bytes) -> bool:
        """Tell whether the stored event is signed for another order or amount.

        The transaction id is not signed, so another order's notification can carry it.
        """
        found = await self._spool.get(event_id)
        stored = None if found is None or found[1] is None else notified_transaction(found[1].body)
        learnt = notified_transaction(body)
        if stored is None or learnt is None:
            return False
        same_order = stored.order_id == learnt.order_id
        return not (same_order and is_same_amount(stored.amount, learnt.amount))


# ---- checkpoint: orders that were answered --------------------------------------------------

#: After this an order is asked about again: its status may have changed.
CHECKPOINT_TTL: Final = timedelta(days=1)


class Checkpoint:
    """The orders of one endpoint answered within `CHECKPOINT_TTL`, in a file of JSON lines."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def load(self) -> frozenset[str]:
        """Return the orders that need not be asked about. Damaged lines are skipped.

        Raises:
            RelayError: the file cannot be read.
        """
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise RelayError(f"cannot read {self._path}: {error.strerror}") from None
        since = self._clock.now() - CHECKPOINT_TTL
        found = {}
        for line in lines:
            try:
                entry = orjson.loads(line)
                found[str(entry["order"])] = datetime.fromisoformat(entry["at"]).astimezone(UTC)
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                continue
        return frozenset(order for order, at in found.items() if at > since)

    def add(self, order: str) -> None:
        """Record that this order was answered.

        Raises:
            RelayError: the file cannot be written.
        """
        line = orjson.dumps({"order": order, "at": self._clock.now().isoformat()})
        try:
            with self._path.open("ab") as file:
                # What was cut off in the middle of a line ends here.
                file.write((b"" if file.tell() == 0 else b"\n") + line)
        except OSError as error:
            raise RelayError(f"cannot write {self._path}: {error.strerror}") from None

    def clear(self) -> None:
        """Remove the file.

        Raises:
            RelayError: the file cannot be removed.
        """
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise RelayError(f"cannot remove {self._path}: {error.strerror}") from None


# ---- order ids, one a line ------------------------------------------------------------------

MAX_ORDER_ID: Final = 255

# What an editor leaves around an id. Other blanks are part of it: they can stand in order ids.
_PADDING: Final = b" \t\r"


class BadOrders(RelayError):
    """The list of orders is invalid.

    problems: the number of each invalid line, from 1, and what is wrong with it.
    """

    def __init__(self, *problems: tuple[int, str]) -> None:
        super().__init__("\n".join(f"line {number}: {message}" for number, message in problems))
        self.problems = problems


def parse_orders(content: bytes) -> tuple[str, ...]:
    """Parse a list of order or transaction ids, one a line; return each once, in their order.

    Blanks and tabs around an id are stripped, and empty lines are skipped. There are no comments:
    an order id may start with a number sign. An id may contain any character but control
    characters: no id does, and a table with several columns would.

    Raises:
        BadOrders: with every invalid line.
    """
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise BadOrders((1, "the list is UTF-16; save it as UTF-8"))
    found: dict[str, None] = {}
    wrong = []
    for number, line in enumerate(content.removeprefix(BOM_UTF8).split(b"\n"), 1):
        try:
            order = line.strip(_PADDING).decode()
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            wrong.append((number, f"not UTF-8: it holds byte 0x{byte:02x}; save it as UTF-8"))
            continue
        problem = _id_problem(order)
        if problem is not None:
            wrong.append((number, problem))
        elif order:
            found[order] = None
    if wrong:
        raise BadOrders(*wrong)
    return tuple(found)


def _id_problem(order: str) -> str | None:
    if len(order) > MAX_ORDER_ID:
        return f"longer than {MAX_ORDER_ID} characters; write one id a line"
    for at, character in enumerate(order, 1):
        if unicodedata.category(character) == "Cc":
            return (
                f"character {at} is the control character U+{ord(character):04X};"
                " write one id a line and nothing else"
            )
    return None
