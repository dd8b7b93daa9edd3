"""Sending with a token: waiting for one that is good, and once more where it is refused.

All of it lies within the timeout of its attempt. What has no token in that time, or needs another
one and gets none, ends without an answer.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from relay.delivery.causes import TokenMissing
from relay.delivery.credentials import Tokens
from relay.delivery.http import Exchange
from relay.delivery.oauth2 import Token


class Authorized(Exchange):
    """An exchange that may be sent with a token.

    pending: what is to end it where its sender has not taken it, or does not send it.
    token: the one that it was sent with. until: the time of the loop at which it has to end.
    is_repeated: whether it was sent once more.
    """

    pending: asyncio.Handle | asyncio.Task[None] | None = None
    token: Token | None = None
    until = 0.0
    is_repeated = False


A = TypeVar("A", bound=Authorized)


class TokenUser(Generic[A]):
    """Sends exchanges with tokens."""

    def __init__(
        self, tokens: Tokens, timeout: float, send: Callable[[A, str, float | None], None]
    ) -> None:
        """Take the parts.

        timeout: seconds from the start of an exchange to its end.
        send: sends an exchange with this line of its head, within so many seconds where some of
            the timeout has passed; None: with all of it.
        """
        self._tokens = tokens
        self._timeout = timeout
        self._send = send
        self._waiting: set[asyncio.Task[None]] = set()

    def start(self, exchange: A) -> None:
        """Send it as soon as there is a token, which may be at once.

        Raises:
            Exception: as `send` does, unless it has to wait.
        """
        exchange.until = asyncio.get_running_loop().time() + self._timeout
        token = self._tokens.good()
        if token is None:
            self._wait(exchange)
        else:
            exchange.token = token
            self._send(exchange, token.line, None)

    def sends_again(self, exchange: A) -> bool:
        """Send it once more, with a newer token, after its upstream has refused the one it had.

        Returns whether it will: its answer is no end then, and it ends once more.
        """
        token = exchange.token
        if token is None or exchange.is_repeated or self._left(exchange) <= 0:
            return False
        if not self._tokens.may_renew(token):
            return False
        exchange.is_repeated = True
        exchange.forget_answer()
        # An answer that was too long, or broke, is an answer all the same.
        exchange.error = None
        self._wait(exchange)
        return True

    def _wait(self, exchange: A) -> None:
        task = asyncio.get_running_loop().create_task(self._send_later(exchange))
        exchange.pending = task
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _left(self, exchange: A) -> float:
        return exchange.until - asyncio.get_running_loop().time()

    async def _send_later(self, exchange: A) -> None:
        try:
            token = await self._tokens.newer(self._left(exchange), exchange.token)
            if token is None:
                raise TokenMissing  # noqa: TRY301 - every way to no request ends alike
            exchange.pending, exchange.token = None, token
            self._send(exchange, token.line, max(0.0, self._left(exchange)))
        except Exception as error:  # noqa: BLE001 - whatever it is, its end is waited for
            exchange.pending, exchange.error = None, error
            exchange.ended()
