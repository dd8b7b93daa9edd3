"""One connection: a request goes out in one write, and its answer is read."""

import asyncio
import select
from collections.abc import Callable
from typing import cast

from relay.upstream._http.response import Broken, Closed, Reader, Response


class Connection(asyncio.Protocol):
    """Carries one exchange at a time. Whatever is not in order afterwards closes it.

    gone: done once the transport is.
    """

    def __init__(self, *, longest_body: int, lost: Callable[["Connection"], None]) -> None:
        """Wait for a transport.

        lost: is called once when the connection is over, whoever ended it.
        """
        self._loop = asyncio.get_running_loop()
        self._lost = lost
        self._reader = Reader(longest_body)
        self._answered: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._closing = False
        self.gone: asyncio.Future[None] = self._loop.create_future()

    async def ask(self, request: bytes, response: Response) -> None:
        """Send a request, and return when enough of its answer has come.

        Afterwards, however it ended, the connection is either `is_idle` or closing. The request is
        in memory already, so the transport may keep what the socket does not take: there is
        nothing to hold back when it says so.

        Raises:
            Closed: the peer ended the connection before the end of its answer.
            Malformed, TooLong: the answer cannot be read.
            OSError: the connection broke.
        """
        if self._closing:
            raise Closed("the connection is closed")
        self._reader.expect(response)
        self._error = None
        self._answered = self._loop.create_future()
        self._transport.write(request)
        try:
            await self._answered
            if self._error is not None:
                raise self._error
        finally:
            self._answered = None
            self._leave_in_order(response)

    @property
    def is_busy(self) -> bool:
        """Whether an exchange is under way."""
        return self._answered is not None

    @property
    def is_idle(self) -> bool:
        """Whether another request may be sent, as far as is known."""
        return not self._closing and self._answered is None and self._reader.reusable

    def is_quiet(self) -> bool:
        """Tell whether nothing lies unread in the socket, such as that the peer has closed.

        The loop may not have come to reading it yet.
        """
        return not self._poll.poll(0)

    def close(self) -> None:
        """Close in good order; over TLS that takes the peer's word."""
        if not self._closing:
            self._closing = True
            self._transport.close()

    def abort(self) -> None:
        """Close at once. What is not sent yet is not sent."""
        self._closing = True
        self._transport.abort()

    def _leave_in_order(self, response: Response) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent or not response.complete:
            # `close` would wait for a peer that may never read on.
            self.abort()
        elif not self._reader.reusable:
            self.close()

    def _finish(self, error: Exception | None) -> None:
        """End the exchange under way, if there is one; the first end counts."""
        if self._answered is not None and not self._answered.done():
            self._error = error
            self._answered.set_result(None)

    # ---- told by the transport --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._answered is None or self._answered.done():
            # Nobody asked: it must never be taken for the answer to what is asked next.
            self.abort()
            return
        try:
            enough = self._reader.feed(data)
        except Broken as error:
            self._finish(error)
        else:
            if enough:
                self._finish(None)

    def eof_received(self) -> None:
        # Returning nothing makes the transport close itself.
        self._closing = True
        if self.is_busy:
            try:
                self._reader.end()
            except Closed as error:
                self._finish(error)
            else:
                self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._finish(exc or Closed("the connection is gone"))
        self._lost(self)
        if not self.gone.done():
            self.gone.set_result(None)
