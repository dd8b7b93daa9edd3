"""The tokens of one OAuth2 client: fetched once for all attempts that wait, ahead of their end.

A question to the token server is a task of its own: it serves every attempt, of stored and of
proxied deliveries, and goes on when one of them is cancelled. While a token is good no attempt
waits; the first one that finds it due has the next one fetched beside it. Nothing is fetched that
nobody sends with. `relay.delivery.oauth2` decides; here is the I/O.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Protocol

from relay.core.clock import Clock
from relay.core.secret import Secret
from relay.delivery.causes import Cause, cause_of
from relay.delivery.http import ExchangeFailed, Pool
from relay.delivery.oauth2 import Client, NoToken, Token, TokenSchedule, read_answer
from relay.delivery.sender import is_encoded, parse_retry_after

#: So many tokens are hidden where an upstream echoes them: requests with old ones may be under way,
#: and what an upstream keeps may be older still.
REMEMBERED: Final = 32


class TokenObserver(Protocol):
    """Logs what becomes of questions (`relay.telemetry`). No method raises or blocks."""

    def token_unavailable(self, upstream: str, reason: str, retry_in: float) -> None:
        """A question brought no token; the next is asked in so many seconds at the soonest.

        reason: one of a closed list, or a status.
        """

    def token_fetched(self, upstream: str) -> None:
        """A question brought a token."""

    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None:
        """A fault of relay itself."""


class TokenSource:
    """Fetches the tokens of one client. Made inside a running event loop."""

    def __init__(
        self, name: str, client: Client, pool: Pool, *, clock: Clock, observer: TokenObserver
    ) -> None:
        """Take the parts.

        name: of the upstream that the tokens are for.
        pool: to the token server's origin; it bounds the time and the size of an answer.

        Raises:
            ValueError: the URL of the client is none that can be asked.
        """
        self._name = name
        self._client = client
        self._request = client.request()
        self._pool = pool
        self._clock = clock
        self._observer = observer
        self._schedule = TokenSchedule()
        self._known: deque[Secret] = deque(maxlen=REMEMBERED)
        self._fetching: asyncio.Task[None] | None = None
        self._closed = False

    def good(self) -> Token | None:
        """Return the token that is good now, and have the next one fetched once that is due."""
        now = self._now()
        if self._fetching is None and self._schedule.is_due(now):
            self._fetch_soon()
        return self._schedule.good(now)

    async def newer(self, within: float, than: Token | None = None) -> Token | None:
        """Return a token that is good and not `than`, fetched if need be.

        One question is waited for. None where it brings no token, or will not be over, or may not
        be asked, in so many seconds.
        """
        before, now = self._schedule.good(self._now()), self._now()
        if before is not None and before is not than:
            return before
        if self._closed or self._schedule.pause(now) >= within:
            return None
        fetching = self._fetching or self._fetch_soon()
        last = self._schedule.token
        # That neither cancels the task with the caller, nor raises what ended it.
        await asyncio.wait([fetching], timeout=within)
        token = self._schedule.token
        return None if token is last else token

    def may_renew(self, refused: Token) -> bool:
        """Return whether to wait for a newer token, since an upstream has refused this one."""
        return self._fetching is not None or self._schedule.may_renew(refused, self._now())

    @property
    def reason(self) -> str:
        """Why the last question brought no token, in words of ours; empty after one that did."""
        return self._schedule.reason

    def secrets(self) -> Iterable[Secret]:
        """Return the client's secret in each form, and the tokens of late."""
        return [*self._client.secrets(), *self._known]

    async def close(self) -> None:
        """End the question under way; whoever waits for it gets no token."""
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._pool.close()

    # ---- one question ---------------------------------------------------------------------------

    def _now(self) -> float:
        # Tokens end while the machine sleeps, too.
        return self._clock.steady().timestamp()

    def _fetch_soon(self) -> asyncio.Task[None]:
        self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            await self._clock.sleep(self._schedule.pause(self._now()))
            await self._ask()
        except Exception as fault:  # noqa: BLE001 - attempts go on without; the back-off bounds it
            self._schedule.failed(self._now(), "fault")
            self._observer.dispatch_error(self._name, None, fault)
        finally:
            self._fetching = None

    async def _ask(self) -> None:
        asked_at = self._now()
        try:
            answer = await self._pool.exchange(self._request)
        except (ExchangeFailed, OSError) as error:
            self._failed(cause_of(error).value)
            return
        if "content-encoding" in answer.fields and is_encoded(answer.fields):
            self._failed(Cause.ENCODED.value)
            return
        try:
            token = read_answer(answer.status or 0, answer.body, asked_at)
        except NoToken as missing:
            waits = answer.values("retry-after")
            self._failed(
                missing.reason,
                parse_retry_after(waits[0], self._clock.now()) if waits else None,
            )
            return
        self._schedule.fetched(token)
        self._known.append(token.secret)
        self._observer.token_fetched(self._name)

    def _failed(self, reason: str, retry_after: timedelta | None = None) -> None:
        pause = self._schedule.failed(self._now(), reason, retry_after)
        self._observer.token_unavailable(self._name, reason, pause)
