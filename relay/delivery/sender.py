"""Sends one request to an upstream and maps its answer or error to an outcome.

Nothing above this module knows HTTP or its errors. A request goes out once. When a kept connection
turns out to be closed only after the request was written to it, the upstream may have read it, so
it is not silently sent again: the attempt is `unreachable`, and the retry schedule decides. A
sender that waits (proxy mode) is told of the failure. `relay.delivery.http.pool` keeps the moment
short in which this can happen.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from relay.core.clock import Clock
from relay.core.egress import IPNetwork
from relay.core.event import Delivered, Lease, Outcome, ProxyResponse, Rejected, Unreachable
from relay.core.request import Ack, VerifiedDelivery
from relay.delivery.authorized import Authorized, TokenUser
from relay.delivery.causes import Cause, Unsendable, cause_of, certificate_cause
from relay.delivery.credentials import Credentials
from relay.delivery.http import Closed, Exchange, Fields, Origin, Pool, Response
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

#: The class of success (RFC 9110, 15.3); every other status is no delivery.
_DELIVERED = {status: Delivered(status) for status in range(200, 300)}

_UNAUTHORIZED = 401

# The classes of status whose answers are passed back.
_PASSED_BACK = {2, 4}

# Most answers that are passed back are like the one before, which is remembered up to this body.
_LONGEST_REMEMBERED = 1024

# The default type of a body without Content-Type (RFC 9110, 8.3).
_DEFAULT_TYPE = "application/octet-stream"


class Sending(Authorized):
    """The exchange of one event or delivery. What its end leads to, a subclass says.

    sender: the one that has taken it.
    """

    sender: "HttpSender"

    def write(self, writer: RequestWriter, now: datetime, authorization: str) -> bytes:
        """Return its request, with this line.

        Raises:
            ValueError: as `RequestWriter.write` does.
        """
        raise NotImplementedError

    def end_soon(self, end: Callable[[], None]) -> None:
        """Call `end` in the next iteration of the event loop, unless `drop` comes before."""

        def once() -> None:
            self.pending = None
            end()

        self.pending = asyncio.get_running_loop().call_soon(once)

    def drop(self) -> None:
        """Cancel it: what its end leads to does not happen."""
        if self.pending is not None:
            self.pending.cancel()
        else:
            self.sender.cancel(self)


class SentEvent(Sending):
    """The exchange of one attempt for an event.

    answer: the body of the answer, as far as it came; empty where the first attempt succeeds.
    """

    answer = b""

    def __init__(self, lease: Lease) -> None:
        # Neither request nor callback: the sender writes the one, and `ended` is the other.
        self.lease = lease

    @property
    def is_wanted(self) -> bool:
        return True

    def ended(self) -> None:
        outcome: Outcome | None = _DELIVERED.get(self.status or 0)
        if outcome is None or self.error is not None:
            if self.status == _UNAUTHORIZED and self.sender.sends_again(self):
                self.repeated()
                return
            outcome = self.sender.outcome_of(self)
        if self.lease.attempt > 1 or outcome.name != "delivered":
            self.answer = self.body
        # It lives on until it is settled.
        self.body, self.error = b"", None
        self.told(outcome)

    def write(self, writer: RequestWriter, now: datetime, authorization: str) -> bytes:
        return writer.write(self.lease, now, authorization)

    def repeated(self) -> None:
        """It was refused with its token, and goes out once more with another one."""

    def told(self, outcome: Outcome) -> None:
        """Take the outcome. Called once, on the event loop; not for one that is dropped."""
        raise NotImplementedError


class Forwarding(Sending):
    """The exchange of one delivery that is forwarded."""

    def __init__(self, delivery: VerifiedDelivery) -> None:
        # As of a `SentEvent`.
        self.delivery = delivery

    @property
    def is_wanted(self) -> bool:
        return self.status is None or self.status // 100 in _PASSED_BACK

    def ended(self) -> None:
        if self.status == _UNAUTHORIZED and self.sender.sends_again(self):
            return
        self.responded(self.sender.response_of(self))

    def write(self, writer: RequestWriter, now: datetime, authorization: str) -> bytes:
        return writer.write_proxied(self.delivery, now, authorization)

    def responded(self, response: ProxyResponse) -> None:
        """Take what to answer. Called once, on the event loop; not for one that is dropped."""
        raise NotImplementedError


class HttpSender:
    """Sends events to one upstream over kept connections. Made inside a running event loop.

    timeout: for everything from looking up the name to the last byte that is read.
    concurrency: how many connections there may be at once.
    tls, server_name: as for a `Pool`, of an https URL.
    allowed: networks of guarded addresses that it may have (`relay.core.egress`).

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
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        allowed: Iterable[IPNetwork] = (),
        credentials: Credentials | None = None,
    ) -> None:
        self._writer = RequestWriter(url, signer, credentials)
        self._clock = clock
        self._credentials = credentials
        self._token_user: TokenUser[Sending] | None = None
        if credentials is not None and credentials.tokens is not None:
            self._token_user = TokenUser(
                credentials.tokens, timeout.total_seconds(), self._send_with_token
            )
        origin = Origin.of(url)
        self._is_tls = origin.tls
        self._pool = Pool(
            origin,
            size=concurrency,
            idle=_KEEPALIVE,
            longest_body=ANSWER_LIMIT,
            timeout=timeout.total_seconds(),
            tls=tls,
            server_name=server_name,
            allowed=allowed,
        )
        # The answer before, whose fields are one object with those of each with the same head.
        self._last: tuple[Fields, bytes, ProxyResponse]
        self._last = ({}, b"", ProxyResponse(Unreachable(Cause.FAULT)))

    def attempt(self, sending: SentEvent) -> None:
        """Send the event once, byte for byte as received, and tell the outcome.

        That is never later than the timeout, and never before this has returned. Any 2xx is
        `Delivered`, whatever follows its head, unless it is less than its Content-Length announces:
        then the connection counts as reset. Redirects are answers, not followed.
        """
        sending.sender = self
        if self._token_user is not None:
            self._token_user.start(sending)
            return
        lease = sending.lease
        try:
            sending.request = self._writer.write(lease, self._clock.now())
        except ValueError:
            _end_unsendable(sending)
            return
        if lease.event.method == "HEAD":
            sending.to_head = True
        self._pool.ask(sending)

    def forward(self, forwarding: Forwarding) -> None:
        """Send its delivery once, as its event would be, and tell it what to answer.

        That is a whole answer of 2xx or 4xx, with only status and Content-Type of its head. An
        answer that breaks, is incomplete at the timeout, longer than `ANSWER_LIMIT`, or encoded
        without being requested so, is `Unreachable`. Time and errors are as for `attempt`.
        """
        forwarding.sender = self
        if self._token_user is not None:
            self._token_user.start(forwarding)
            return
        delivery = forwarding.delivery
        try:
            forwarding.request = self._writer.write_proxied(delivery, self._clock.now())
        except ValueError:
            _end_unsendable(forwarding)
            return
        if delivery.delivery.head.method == "HEAD":
            forwarding.to_head = True
        self._pool.ask(forwarding)

    def _send_with_token(self, sending: Sending, authorization: str, within: float | None) -> None:
        try:
            sending.request = sending.write(self._writer, self._clock.now(), authorization)
        except ValueError:
            _end_unsendable(sending)
            return
        sending.to_head = sending.request.startswith(b"HEAD ")
        self._pool.ask(sending, within)

    def sends_again(self, sending: Sending) -> bool:
        """Return whether it is sent once more, since its upstream wanted another token."""
        return self._token_user is not None and self._token_user.sends_again(sending)

    def cancel(self, exchange: Exchange) -> None:
        """Drop an exchange that has not ended: its `ended` is not called."""
        self._pool.cancel(exchange)

    def response_of(self, exchange: Exchange) -> ProxyResponse:
        """Return what to answer after this exchange."""
        if exchange.error is not None:
            return ProxyResponse(Unreachable(cause_of(exchange.error)))
        fields, body, response = self._last
        if exchange.fields is fields and exchange.body == body:
            return response
        response = self._answered(exchange)
        # The Retry-After of any other may be a time, which makes another delay of it each time.
        if exchange.status in _DELIVERED and exchange.length <= _LONGEST_REMEMBERED:
            self._last = (exchange.fields, exchange.body, response)
        return response

    def _answered(self, exchange: Exchange) -> ProxyResponse:
        status, fields, body = exchange.status or 0, exchange.fields, exchange.body
        outcome = _DELIVERED.get(status) or self._rejected(exchange)
        if status // 100 not in _PASSED_BACK:
            return ProxyResponse(outcome)
        if self._is_tls and (cause := certificate_cause(exchange)) is not None:
            return ProxyResponse(Unreachable(cause))
        if body and "content-encoding" in fields and is_encoded(fields):
            return ProxyResponse(Unreachable(Cause.ENCODED))
        content_type = fields["content-type"][0] if "content-type" in fields else ""
        if not _VISIBLE.fullmatch(content_type):
            content_type = _DEFAULT_TYPE if body else ""
        if self._credentials is not None:
            # Services tell what they were sent, and who reads this is a stranger to them.
            shown = self._credentials.hide(body.decode("latin-1"))
            body = shown.encode("latin-1", "backslashreplace")
            content_type = self._credentials.hide(content_type)
        return ProxyResponse(outcome, Ack(status, body, content_type))

    def outcome_of(self, exchange: Exchange) -> Outcome:
        """Return the outcome of this exchange for its event."""
        # The head is the answer. A body that breaks or is too slow only costs its connection.
        delivered = _DELIVERED.get(exchange.status or 0)
        if delivered is not None:
            return Unreachable(Cause.RESET) if _is_cut_short(exchange) else delivered
        if exchange.status is None and exchange.error is not None:
            return Unreachable(cause_of(exchange.error))
        if self._is_tls and (cause := certificate_cause(exchange)) is not None:
            return Unreachable(cause)
        return self._rejected(exchange)

    def _rejected(self, answer: Response) -> Outcome:
        """Return the outcome of an answer that is no success."""
        wait = answer.values("retry-after")
        try:
            retry_after = parse_retry_after(wait[0], self._clock.now()) if wait else None
        except Exception as fault:  # noqa: BLE001 - whatever it is, the outcome is waited for
            asyncio.get_running_loop().call_exception_handler(
                {"message": "an answer could not be mapped to an outcome", "exception": fault}
            )
            return Unreachable(cause_of(fault))
        return Rejected(answer.status or 0, retry_after)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()


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


def _end_unsendable(sending: Sending) -> None:
    sending.error = Unsendable()
    sending.end_soon(sending.ended)


def _is_cut_short(exchange: Exchange) -> bool:
    """Return whether less of a body has come than its head announced, and more was waited for.

    What wrote the head may have died before it had done its work.
    """
    if exchange.complete or not isinstance(exchange.error, Closed | OSError):
        return False
    # Where a body comes in chunks, its length means nothing (RFC 9112, 6.3).
    return "content-length" in exchange.fields and "transfer-encoding" not in exchange.fields


def is_encoded(fields: Fields) -> bool:
    """Return whether the body of an answer with a Content-Encoding is in a coding."""
    return any(each.lower() != "identity" for each in fields["content-encoding"])
