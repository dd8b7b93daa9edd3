"""Whether an event may go to its upstream: its provider is asked, and its answer weighed."""

import asyncio
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from relay.clock import Clock
from relay.confirm.client import PATIENCE, TOGETHER
from relay.confirm.pace import Bucket, Rest
from relay.confirm.status import (
    UNASKABLE,
    Agrees,
    Answer,
    Limited,
    NoAnswer,
    NotFound,
    Transaction,
    compare,
    notified,
)
from relay.model import Event, Unconfirmed
from relay.secret import Secret
from relay.upstream.attempts import Confirmed

#: How long an event waits for its turn to be asked about, in seconds.
LONGEST_WAIT: Final = 5.0

#: The most that confirming one event takes.
LONGEST: Final = timedelta(seconds=LONGEST_WAIT + PATIENCE)


class StatusApi(Protocol):
    """Answers what the status of a transaction is (`relay.confirm.client.StatusClient`)."""

    async def ask(self, name: str, secret: Secret) -> Answer:
        """Ask once, within `PATIENCE`."""


class Observer(Protocol):
    """Is told what came of asking (`relay.telemetry`). Neither raises nor waits."""

    def confirmed(self, endpoint: str, result: str) -> None:
        """Count one result: `confirmed`, `contradicted`, `not_found`, `limited` or `error`."""


@dataclass(slots=True)
class Desk:
    """Where the events of one endpoint are asked about.

    secrets: the keys of the endpoint, at least one. strict: what is not confirmed is never sent.
    """

    api: StatusApi
    secrets: tuple[Secret, ...]
    bucket: Bucket
    strict: bool
    rest: Rest = field(default_factory=Rest)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TOGETHER))


class StatusConfirmer:
    """Asks for the status of what an event is about. Passes as `upstream.attempts.Confirmer`."""

    def __init__(
        self,
        desks: Mapping[str, Desk],
        configured: Container[str],
        clock: Clock,
        observer: Observer,
    ) -> None:
        """Take the parts.

        desks: by endpoint; the events of other endpoints that are configured are not asked about.
        configured: the endpoints that there are. Where some ask, an event of one that is gone, or
            has another name now, does not go out unasked.
        """
        self._desks = desks
        self._configured = configured
        self._clock = clock
        self._observer = observer

    def strict(self, event: Event) -> bool:
        desk = self._desks.get(event.endpoint)
        return self._is_orphan(event) if desk is None else desk.strict

    async def confirm(self, event: Event) -> Confirmed | Unconfirmed | None:
        """Ask about an event, within `LONGEST`.

        One that is about no transaction, as a notice of a linked account, cannot be confirmed.
        """
        desk = self._desks.get(event.endpoint)
        if desk is None:
            gone = f"endpoint {event.endpoint} is not configured; name it again"
            return Unconfirmed(gone) if self._is_orphan(event) else None
        said = notified(event.body)
        if said is None:
            return self._unconfirmed(event, "contradicted", "names no transaction", final=True)
        # The key that signed it, whichever position that has now. A key that is gone since then
        # would not be taken by the API either.
        secret = desk.secrets[said.signer(desk.secrets) or 0]
        try:
            async with asyncio.timeout(LONGEST.total_seconds()):
                answer = await self._ask(desk, said.name, secret)
        except TimeoutError:
            answer = NoAnswer("timeout")
        if isinstance(answer, Transaction):
            verdict = compare(said, answer, secret)
            if isinstance(verdict, Agrees):
                self._observer.confirmed(event.endpoint, "confirmed")
                return Confirmed(verdict.state)
            return self._unconfirmed(event, "contradicted", verdict.reason, final=True)
        retry_after = answer.retry_after if isinstance(answer, Limited) else None
        return self._unconfirmed(event, *_in_words(answer), retry_after)

    def _is_orphan(self, event: Event) -> bool:
        return bool(self._desks) and event.endpoint not in self._configured

    def _unconfirmed(
        self,
        event: Event,
        result: str,
        cause: str,
        retry_after: timedelta | None = None,
        *,
        final: bool = False,
    ) -> Unconfirmed:
        self._observer.confirmed(event.endpoint, result)
        return Unconfirmed(cause, retry_after, final)

    async def _ask(self, desk: Desk, name: str, secret: Secret) -> Answer | None:
        """Ask in turn; None when the API is being left alone, or its turn would come too late."""
        wait = desk.bucket.reserve(self._clock.monotonic(), LONGEST_WAIT)
        if wait is None:
            return None
        await self._clock.sleep(wait)
        async with desk.turns:
            now = self._clock.monotonic()
            if desk.rest.left(now) > 0:
                return None
            desk.rest.asked(now)
            answer = await desk.api.ask(name, secret)
        if isinstance(answer, Limited):
            desk.rest.failed(self._clock.monotonic(), answer.retry_after)
        elif isinstance(answer, NoAnswer) and answer.cause != UNASKABLE:
            desk.rest.failed(self._clock.monotonic())
        else:
            desk.rest.answered()
        return answer


def _in_words(answer: NotFound | Limited | NoAnswer | None) -> tuple[str, str]:
    """Return the result to count, and the cause in the history."""
    match answer:
        case NotFound():
            return "not_found", "not found"
        case Limited():
            return "limited", "too many requests"
        case NoAnswer(cause):
            return "error", cause
        case None:
            return "error", "api left alone"
