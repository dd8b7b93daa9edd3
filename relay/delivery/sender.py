"""Sends one request to an upstream and maps its answer or error to an outcome.

Nothing above this module knows HTTP or its errors. A request goes out once. When a kept connection
turns out to be closed only after the request was written to it, the upstream may have read it, so
it is not silently sent again: the attempt is `unreachable`, and the retry schedule decides. A
sender that waits (proxy mode) is told of the failure. `relay.delivery.http.pool` keeps the moment
short in which this can happen.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from typing import TypeVar

from relay.core.clock import Clock
from relay.core.concurrency import Cancel
from relay.core.event import Delivered, Lease, Outcome, ProxyResponse, Rejected, Unreachable
from relay.core.request import Ack
from relay.delivery.http import (
    CannotConnect,
    Closed,
    Exchange,
    ExchangeFailed,
    Malformed,
    Origin,
    Pool,
    Response,
    TooLong,
)
from relay.delivery.request import RequestWriter
from relay.signatures.shared_secret import Signer

#: More than this of an answer is not read, and its connection is dropped instead of kept. A longer
#: answer cannot be passed back.
ANSWER_LIMIT = 64 * 1024

# Shorter than what common servers keep an idle connection for, so that we are the ones to close:
# a POST on a connection that its server is just closing fails for no reason.
_KEEPALIVE = 4.0

_DIGITS = re.compile(r"[0-9]+")
_VISIBLE = re.compile(r"[\t -~]+")

# The default type of a body without Content-Type (RFC 9110, 8.3).
_DEFAULT_TYPE = "application/octet-stream"


class Cause(StrEnum):
    """Why there is no usable answer.

    `oversized` and `encoded` are answers that cannot be passed back: too long, or in a coding that
    was not requested. The last three say nothing about the upstream: the event cannot be written as
    a request, relay stops, or relay has a fault.
    """

    REFUSED = "refused"
    TIMEOUT = "timeout"
    RESET = "reset"
    CLOSED = "closed"
    DNS = "dns"
    TLS = "tls"
    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    ENCODED = "encoded"
    UNSENDABLE = "unsendable"
    SHUTDOWN = "shutdown"
    FAULT = "fault"


class _Unsendable(ExchangeFailed):
    """The event cannot be written as a request."""


#: By type of error; the first match counts, so the narrow types stand first.
_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (ssl.SSLError, Cause.TLS),
    (socket.gaierror, Cause.DNS),
    # A host name that DNS has no way to ask for.
    (ValueError, Cause.DNS),
    (TimeoutError, Cause.TIMEOUT),
    (ConnectionRefusedError, Cause.REFUSED),
    (ConnectionError, Cause.RESET),
    (Closed, Cause.CLOSED),
    (TooLong, Cause.OVERSIZED),
    (_Unsendable, Cause.UNSENDABLE),
    (Malformed, Cause.MALFORMED),
)


T = TypeVar("T")


class HttpSender:
    """Sends events to one upstream over kept connections. Made inside a running event loop.

    timeout: for everything from looking up the name to the last byte that is read.
    concurrency: how many connections there may be at once.

    Raises:
        ValueError: `url` is no URL that events can be sent to (`relay.delivery.request.Target`).
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: timedelta,
        concurrency: int,
        clock: Clock,
        signer: Signer | None = None,
    ) -> None:
        self._writer = RequestWriter(url, signer)
        self._clock = clock
        self._pool = Pool(
            Origin.of(url),
            size=concurrency,
            idle=_KEEPALIVE,
            longest_body=ANSWER_LIMIT,
            timeout=timeout.total_seconds(),
        )

    def attempt(self, lease: Lease, done: Callable[[Outcome], None]) -> Cancel:
        """Send the event once, byte for byte as received, and call `done` with the outcome.

        That is never later than the timeout, and never before this has returned. Any 2xx is
        `Delivered`, whatever follows its head; redirects are answers, not followed.
        """
        response = Response(to_head=lease.event.method == "HEAD")
        return self._send(lease, response, partial(self._told, self._attempt_outcome, done))

    def forward(self, lease: Lease, done: Callable[[ProxyResponse], None]) -> Cancel:
        """Send the event once, byte for byte as received, and call `done` with what to answer.

        That is a whole answer of 2xx or 4xx, with only status and Content-Type of its head. An
        answer that breaks, is incomplete at the timeout, longer than `ANSWER_LIMIT`, or encoded
        without being requested so, is `Unreachable`. Time and errors are as for `attempt`.
        """
        response = Response(_may_be_passed_back, to_head=lease.event.method == "HEAD")
        return self._send(lease, response, partial(self._told, self._proxy_response, done))

    def _send(self, lease: Lease, response: Response, ended: Callable[[Exchange], None]) -> Cancel:
        try:
            request = self._writer.write(lease, self._clock.now())
        except ValueError:
            unsent = Exchange(b"", response, ended)
            unsent.error = _Unsendable()
            return asyncio.get_running_loop().call_soon(ended, unsent).cancel
        exchange = Exchange(request, response, ended)
        self._pool.ask(exchange)
        return partial(self._pool.cancel, exchange)

    @staticmethod
    def _told(read: Callable[[Exchange], T], done: Callable[[T], None], exchange: Exchange) -> None:
        try:
            result = read(exchange)
        except Exception as fault:  # noqa: BLE001 - whatever it is, `done` is waited for
            asyncio.get_running_loop().call_exception_handler(
                {"message": "an answer could not be mapped to an outcome", "exception": fault}
            )
            exchange.error, exchange.response = fault, Response()
            result = read(exchange)
        done(result)

    def _attempt_outcome(self, exchange: Exchange) -> Outcome:
        # The head is the answer. A body that breaks or is too slow only costs its connection.
        if exchange.response.status is None and exchange.error is not None:
            return Unreachable(cause_of(exchange.error))
        return self._outcome(exchange.response)

    def _proxy_response(self, exchange: Exchange) -> ProxyResponse:
        if exchange.error is not None:
            return ProxyResponse(Unreachable(cause_of(exchange.error)))
        response = exchange.response
        outcome = self._outcome(response)
        if not response.is_wanted:
            return ProxyResponse(outcome)
        body = response.body
        codings = {each.lower() for each in response.values("content-encoding")}
        if body and codings - {"identity"}:
            return ProxyResponse(Unreachable(Cause.ENCODED))
        return ProxyResponse(outcome, Ack(response.status or 0, body, _content_type(response)))

    def _outcome(self, response: Response) -> Outcome:
        status = response.status or 0
        if 200 <= status <= 299:  # noqa: PLR2004 - the class of success, RFC 9110
            return Delivered(status)
        wait = response.values("retry-after")
        return Rejected(status, parse_retry_after(wait[0], self._clock.now()) if wait else None)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()


def cause_of(error: Exception) -> Cause:
    """Return the cause of an error, whichever library raised it."""
    if not isinstance(error, ExchangeFailed | OSError):
        return Cause.FAULT
    unconnected = isinstance(error, CannotConnect)
    reason = error.__cause__ if unconnected else error
    otherwise = Cause.REFUSED if unconnected else Cause.RESET
    return next((cause for kind, cause in _CAUSES if isinstance(reason, kind)), otherwise)


def parse_retry_after(value: str, now: datetime) -> timedelta | None:
    """Return the delay of a Retry-After (RFC 9110, 10.2.3); None when it is malformed."""
    text = value.strip()
    if _DIGITS.fullmatch(text):
        # Nine digits are thirty years; more would only strain `int` and `timedelta`.
        return timedelta(seconds=int(text.lstrip("0")[:9] or "0"))
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(timedelta(0), moment - now)
    except (ValueError, OverflowError):
        return None


def _may_be_passed_back(status: int) -> bool:
    return status // 100 in {2, 4}


def _content_type(response: Response) -> str:
    content_type = "".join(response.values("content-type")[:1])
    if _VISIBLE.fullmatch(content_type):
        return content_type
    return _DEFAULT_TYPE if response.body else ""
