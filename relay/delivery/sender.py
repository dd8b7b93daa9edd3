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
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from relay.core.clock import Clock
from relay.core.event import Delivered, Lease, Outcome, ProxyResponse, Rejected, Unreachable
from relay.core.request import Ack
from relay.delivery import request as outgoing
from relay.delivery.http import (
    CannotConnect,
    Closed,
    ExchangeFailed,
    Malformed,
    Origin,
    Pool,
    Response,
    TooLong,
    encode,
)
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
    (Malformed, Cause.MALFORMED),
)

_FAULTS = (ExchangeFailed, OSError)


class _NoAnswer(ExchangeFailed):
    """There will be no usable answer, for a cause that no library raises."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


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
        self._target = outgoing.Target(url)
        self._origin = Origin.of(url)
        self._timeout = timeout.total_seconds()
        self._clock = clock
        self._signer = signer
        self._pool = Pool(
            self._origin, size=concurrency, idle=_KEEPALIVE, longest_body=ANSWER_LIMIT
        )

    async def attempt(self, lease: Lease) -> Outcome:
        """Send the event once, byte for byte as received, and return the outcome.

        Never takes longer than the timeout, and never raises but for cancellation. Any 2xx is
        `Delivered`, whatever follows its head; redirects are answers, not followed.
        """
        response = Response(to_head=lease.event.method == "HEAD")
        try:
            await self._send(lease, response)
        except _FAULTS as error:
            # The head is the answer. A body that breaks or is too slow only costs its connection.
            if response.status is None:
                return Unreachable(cause_of(error))
        return self._outcome(response)

    async def forward(self, lease: Lease) -> ProxyResponse:
        """Send the event once, byte for byte as received, and return the answer for its sender.

        That is a whole answer of 2xx or 4xx, with only status and Content-Type of its head. An
        answer that breaks, is incomplete at the timeout, longer than `ANSWER_LIMIT`, or encoded
        without being requested so, is `Unreachable`. Timeout and errors are as for `attempt`.
        """
        response = Response(_may_be_passed_back, to_head=lease.event.method == "HEAD")
        try:
            await self._send(lease, response)
            outcome = self._outcome(response)
            return ProxyResponse(outcome, _ack(response) if response.is_wanted else None)
        except _FAULTS as error:
            return ProxyResponse(Unreachable(cause_of(error)))

    async def _send(self, lease: Lease, response: Response) -> None:
        """Send the request and read the answer into `response`, all within the timeout."""
        event = lease.event
        fields = outgoing.fields(lease, self._clock.now(), self._signer)
        try:
            target = self._origin.target(self._target.of(event.suffix))
            request = encode(event.method, target, self._origin.authority, fields, event.body)
        except ValueError:
            raise _NoAnswer(Cause.UNSENDABLE) from None
        async with asyncio.timeout(self._timeout):
            await self._pool.exchange(request, response)

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
    if isinstance(error, _NoAnswer):
        return error.cause
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


def _ack(response: Response) -> Ack:
    """Return the answer as it may be passed back.

    Raises:
        _NoAnswer: it is encoded.
    """
    body = response.body
    codings = {each.lower() for each in response.values("content-encoding")}
    if body and codings - {"identity"}:
        raise _NoAnswer(Cause.ENCODED)
    content_type = "".join(response.values("content-type")[:1])
    if not _VISIBLE.fullmatch(content_type):
        content_type = _DEFAULT_TYPE if body else ""
    return Ack(response.status or 0, body, content_type)
