"""One request to an upstream. Nothing above this module knows aiohttp or its errors."""

import asyncio
import errno
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

import aiohttp
from yarl import URL

from relay.clock import Clock
from relay.model import Ack, Answer, Delivered, Headers, Lease, Outcome, Rejected, Unreachable
from relay.upstream import outgoing
from relay.upstream.signing import Signer

#: More than this of an answer is not read; its connection is dropped instead of kept. An answer
#: that is to be passed back is none when it is longer.
ANSWER_LIMIT = 64 * 1024

# Shorter than what common servers keep an idle connection for, so that we are the ones to close:
# a POST on a connection that its server is just closing fails for no reason.
_KEEPALIVE = 4.0

# aiohttp would fill these in by itself.
_OWN_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")

_DIGITS = re.compile(r"[0-9]+")
_VISIBLE = re.compile(r"[\t -~]+")

# What a recipient takes a body for that nobody has named (RFC 9110, 8.3).
_UNNAMED = "application/octet-stream"


class Cause(StrEnum):
    """Why no usable answer came.

    `oversized` and `encoded` are answers that cannot be passed back: too long, or in a coding that
    was not asked for. The last three say nothing about the upstream: the event cannot be put into
    a request, the attempt was cut short because we stop, or something of ours broke.
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


#: The first kind that fits names the cause: the narrow ones come first.
_BY_KIND: tuple[tuple[type[Exception], Cause], ...] = (
    (aiohttp.ClientSSLError, Cause.TLS),
    (aiohttp.ServerFingerprintMismatch, Cause.TLS),
    (ssl.SSLError, Cause.TLS),
    (aiohttp.ClientConnectorDNSError, Cause.DNS),
    (TimeoutError, Cause.TIMEOUT),
    (aiohttp.ClientConnectorError, Cause.REFUSED),
    (OSError, Cause.RESET),
    (aiohttp.ClientConnectionError, Cause.CLOSED),
    (aiohttp.ClientPayloadError, Cause.CLOSED),
)

_BY_ERRNO = {
    errno.ECONNREFUSED: Cause.REFUSED,
    errno.ETIMEDOUT: Cause.TIMEOUT,
    errno.ECONNRESET: Cause.RESET,
    errno.ECONNABORTED: Cause.RESET,
    errno.EPIPE: Cause.RESET,
}

_FAULTS = (aiohttp.ClientError, OSError, ValueError)


class _NoAnswer(ValueError):
    """We found ourselves that there will be no usable answer."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


class Forwarder:
    """Sends events to one upstream over kept connections. Made inside a running event loop.

    timeout: for everything from looking up the name to the last byte that is read.
    concurrency: how many connections there may be at once.

    Raises:
        ValueError: `url` is no URL that events can be sent to (`relay.upstream.outgoing.Target`).
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
        self._timeout = timeout.total_seconds()
        self._clock = clock
        self._signer = signer
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=concurrency, keepalive_timeout=_KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            # An attempt has one deadline, and it is not aiohttp's.
            timeout=aiohttp.ClientTimeout(),
            skip_auto_headers=_OWN_HEADERS,
            auto_decompress=False,
            trust_env=False,
        )

    async def attempt(self, lease: Lease) -> Outcome:
        """Send the event once, byte for byte as received, and return what came of it.

        Never takes longer than the timeout, and never raises but for cancellation. Any 2xx is
        `Delivered`, whatever follows its head; redirects are answers, not followed.
        """
        outcome: Outcome | None = None
        try:
            async with self._answered(lease) as response:
                # The head is the answer. A body that breaks or drips only costs its connection.
                outcome = _outcome(response, self._clock.now())
                await _read_to_the_end(response)
        except _FAULTS as error:
            return Unreachable(cause_of(error)) if outcome is None else outcome
        return outcome

    async def ask(self, lease: Lease) -> Answer:
        """Send the event once, byte for byte as received, and return what its sender may have.

        That is a whole answer of 2xx or 4xx, with nothing of its head but status and Content-Type.
        One that breaks, drips until the timeout, is longer than `ANSWER_LIMIT`, or is encoded
        though nobody asked for that, is `Unreachable`. Timeout and errors are as for `attempt`.
        """
        try:
            async with self._answered(lease) as response:
                outcome = _outcome(response, self._clock.now())
                if response.status // 100 not in {2, 4}:
                    return Answer(outcome)
                return Answer(outcome, await _whole(response))
        except _FAULTS as error:
            return Answer(Unreachable(cause_of(error)))

    @asynccontextmanager
    async def _answered(self, lease: Lease) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make the request and give its answer, of which the head has been read.

        All of it, inside included, has to end within the timeout.
        """
        event = lease.event
        try:
            url = URL(self._target.of(event.suffix), encoded=True)
        except ValueError:
            raise _NoAnswer(Cause.UNSENDABLE) from None
        fields = outgoing.fields(lease, self._clock.now(), self._signer)
        async with asyncio.timeout(self._timeout):
            response = await self._session.request(
                event.method,
                url,
                headers=_for_aiohttp(fields),
                data=event.body or None,
                allow_redirects=False,
            )
            try:
                yield response
            finally:
                response.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


def cause_of(error: BaseException) -> Cause:
    """Name what kept an answer from coming, whichever library said it."""
    if isinstance(error, _NoAnswer):
        return error.cause
    if isinstance(error.__cause__, ssl.SSLError):
        return Cause.TLS
    cause = next((cause for kind, cause in _BY_KIND if isinstance(error, kind)), Cause.MALFORMED)
    if cause in {Cause.REFUSED, Cause.RESET} and isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, cause)
    return cause


def parse_retry_after(value: str, now: datetime) -> timedelta | None:
    """Return how long a Retry-After asks to wait (RFC 9110, 10.2.3); None when it says nothing."""
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


def _outcome(response: aiohttp.ClientResponse, now: datetime) -> Outcome:
    if 200 <= response.status <= 299:  # noqa: PLR2004 - the class of success, RFC 9110
        return Delivered(response.status)
    wait = response.headers.get("Retry-After")
    return Rejected(response.status, None if wait is None else parse_retry_after(wait, now))


async def _read_to_the_end(response: aiohttp.ClientResponse) -> None:
    """Read a short answer whole, which lets its connection be used again."""
    left = ANSWER_LIMIT
    while left > 0 and (chunk := await response.content.read(left)):
        left -= len(chunk)


async def _whole(response: aiohttp.ClientResponse) -> Ack:
    """Return the answer as it may be passed back.

    Raises:
        _NoAnswer: it is longer than the limit, or encoded.
    """
    body = b""
    while chunk := await response.content.read(ANSWER_LIMIT + 1 - len(body)):
        body += chunk
        if len(body) > ANSWER_LIMIT:
            raise _NoAnswer(Cause.OVERSIZED)
    if body and response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _NoAnswer(Cause.ENCODED)
    named = response.headers.get("Content-Type", "")
    if not _VISIBLE.fullmatch(named):
        named = _UNNAMED if body else ""
    return Ack(response.status, body, named)


def _for_aiohttp(fields: Headers) -> list[tuple[str, str]]:
    """Turn Latin-1 text into the text that aiohttp, which writes UTF-8, turns into those bytes.

    A field whose bytes are not UTF-8 cannot be sent as it arrived, and is left out.
    """
    decoded = ((name, value.encode("latin-1").decode(errors="replace")) for name, value in fields)
    return [(name, value) for name, value in decoded if "\N{REPLACEMENT CHARACTER}" not in value]
