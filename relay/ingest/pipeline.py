"""The inbound pipeline for one request: route, admit, read, verify, store, answer.

A proxied delivery is forwarded instead of stored, and answered with its upstream's answer. A
refusal is answered in the provider's shape. Any other error is ours: the answer asks the provider
to send again, and nothing is acknowledged. One log line records each delivery, however it ends.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.allowlist import Allowlist, Entry, Mode
from relay.allowlist.registry import Knock, KnockResult
from relay.core.clock import Clock
from relay.core.errors import Reason, Refusal, SpoolUnavailable, UpstreamOverloaded
from relay.core.event import ProxyResponse, Unreachable
from relay.core.request import (
    Ack,
    Address,
    ClientAddress,
    Delivery,
    IngestResult,
    RequestHead,
    Verdict,
    Verification,
    VerifiedDelivery,
)
from relay.ingest.client_address import ClientLocator
from relay.ingest.routing import Route, Routes
from relay.providers import AnswerContext, Inspector, RequestShape
from relay.providers.answers import plain_answer
from relay.spool import Conflict, Duplicate, Spool, SpoolBroken, SpoolOverloaded, Stored
from relay.telemetry import DeliveryRecord, Telemetry

#: The sender's header fields that every provider's deliveries keep.
COMMON_HEADERS = ("Content-Type", "User-Agent", "Accept")

# The least timeout of storing, in seconds.
_MIN_STORE_TIMEOUT = 0.25

#: Reads the request's body, within its limits. Raises `Refusal` when a limit is exceeded.
ReadBody = Callable[[], Awaitable[bytes]]

#: Called with the client of a request as soon as it is known. Raises `Refusal` when that client has
#: too many requests in flight.
OnClient = Callable[[Address], None]

#: Sends a delivery to its upstream, once, and returns the answer. Raises `UpstreamOverloaded`.
Forward = Callable[[VerifiedDelivery], Awaitable[ProxyResponse]]

#: Called with a refused delivery from an allowed address. Neither raises nor blocks.
OnRefused = Callable[["Endpoint", Delivery, Refusal], None]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One public path: a provider, an environment and secrets, bound together.

    shapes: what a provider appends to this path; empty where it calls exactly this one.
    headers: the provider's own header fields that may reach the upstream.
    proxied: deliveries are forwarded and answered with the upstream's answer, not stored.
    mode: whether the allowlist refuses, reports or is off.
    knock: refreshes DNS for a refused address; None when no host names are involved.
    token: the sender's proof is a token in a header field, not a signature.
    answer_deadline: for senders that hang up sooner than `answer_within`; None for the others.
    confirm: the provider's API is asked about each event before it is delivered.
    """

    name: str
    path: str
    methods: tuple[str, ...]
    shapes: tuple[RequestShape, ...]
    provider: str
    environment: str
    upstream: str
    inspector: Inspector
    headers: tuple[str, ...]
    allowlist: Allowlist
    mode: Mode
    knock: Knock | None
    proxied: bool = False
    token: bool = False
    answer_deadline: timedelta | None = None
    confirm: bool = False


class Ingest:
    """The inbound pipeline of one configuration."""

    def __init__(
        self,
        *,
        routes: Routes[Endpoint],
        clients: ClientLocator,
        spool: Spool,
        forward: Forward,
        telemetry: Telemetry,
        clock: Clock,
        new_id: Callable[[datetime], str],
        answer_within: timedelta,
        on_spool_broken: Callable[[SpoolBroken], None],
        on_refused: OnRefused = lambda *_: None,
    ) -> None:
        """Take the parts.

        forward: for proxied deliveries; its own timeout holds for them.
        new_id: returns a new event id of this time.
        answer_within: from the head of a stored delivery to its answer.
        on_spool_broken: called when the spool cannot be trusted any more; the process has to end.
        on_refused: called with what may be released later.
        """
        self._routes = routes
        self._clients = clients
        self._spool = spool
        self._forward = forward
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self._answer_within = answer_within.total_seconds()
        self._on_spool_broken = on_spool_broken
        self._on_refused = on_refused
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def receive(
        self, head: RequestHead, read_body: ReadBody, on_client: OnClient = lambda _: None
    ) -> Ack:
        """Handle one request and return its answer, once its event is durable.

        Refusals, a spool or upstream without an answer and faults become answers, too. The delivery
        is counted and logged.

        read_body: called once at most, after admission.
        on_client: called once at most, before the allowlist is asked.
        """
        record = DeliveryRecord(head.peer, head.received_at, self._clock.monotonic())
        self._in_flight += 1
        self._idle.clear()
        try:
            ack = await self._handle(head, read_body, on_client, record)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
        record.status = ack.status
        self._telemetry.received(record)
        return ack

    async def idle(self) -> None:
        """Return when no request is in flight."""
        await self._idle.wait()

    def refuse(self, peer: Address, refusal: Refusal) -> Ack:
        """Count and log a refusal of this peer before there was a request; return its answer."""
        record = DeliveryRecord(peer, self._clock.now())
        record.verdict, record.reason = Verdict.REFUSED, refusal.reason
        record.detail = refusal.detail
        ack = plain_answer(IngestResult(Verdict.REFUSED, refusal.reason))
        record.status = ack.status
        self._telemetry.received(record)
        return ack

    async def _handle(
        self,
        head: RequestHead,
        read_body: ReadBody,
        on_client: OnClient,
        record: DeliveryRecord,
    ) -> Ack:
        """Run the steps in order, turn refusals and faults into answers, and fill `record`."""
        try:
            route = self._routes.find(head)
        except Refusal as refusal:
            record.verdict, record.reason = Verdict.REFUSED, refusal.reason
            return self._unrouted_answer(head, refusal, record)
        endpoint = route.endpoint
        record.endpoint, record.provider = endpoint.name, endpoint.provider
        body, proxied_ack, delivery = b"", None, None
        try:
            client = await self._admit(route, head, on_client, record)
            body = await read_body()
            record.body_bytes = len(body)
            record.body_sha256 = hashlib.sha256(body).hexdigest()
            read_at = self._clock.monotonic()
            delivery = Delivery(endpoint.name, head, client, route.remainder, body)
            event = self._verify(endpoint, delivery, record, read_at)
            # A test message from a dashboard goes no further in either mode.
            if route.proxied and not event.verification.test:
                result, proxied_ack = await self._proxy(route, event, record)
            else:
                timeout = self._store_timeout(endpoint, read_at - record.started)
                result = await self._store(event, record, timeout)
        except Refusal as refusal:
            result = IngestResult(Verdict.REFUSED, refusal.reason)
            record.detail = refusal.detail
            # What is passed on answers a question, and whoever asked it does not wait.
            if delivery is not None and record.matched_entry is not None and not route.proxied:
                self._on_refused(endpoint, delivery, refusal)
        except (SpoolOverloaded, UpstreamOverloaded) as fault:
            result = IngestResult(Verdict.UNAVAILABLE, Reason.OVERLOAD)
            record.detail = str(fault)
        except (SpoolUnavailable, TimeoutError) as fault:
            result = IngestResult(Verdict.UNAVAILABLE, late=isinstance(fault, TimeoutError))
            if isinstance(fault, SpoolBroken):
                self._on_spool_broken(fault)
            record.detail = str(fault) or "no answer from the spool in time"
        except Exception as fault:  # noqa: BLE001 - whatever it is, the provider must come again
            result = IngestResult(Verdict.UNAVAILABLE)
            self._telemetry.log.fault("delivery_fault", fault, endpoint=endpoint.name)
        record.verdict, record.reason = result.verdict, result.reason
        if proxied_ack is not None:
            return proxied_ack
        return endpoint.inspector.answer(
            result, self._answer_context(record, route.remainder, body)
        )

    def _unrouted_answer(self, head: RequestHead, refusal: Refusal, record: DeliveryRecord) -> Ack:
        """Return the answer for a path of no endpoint; below a prefix, in its provider's shape."""
        result = IngestResult(Verdict.REFUSED, refusal.reason)
        context = self._answer_context(record, "", b"")
        endpoint = self._routes.prefix_endpoint(head)
        if endpoint is None:
            return plain_answer(result)
        return endpoint.inspector.answer(result, context)

    def _answer_context(self, record: DeliveryRecord, remainder: str, body: bytes) -> AnswerContext:
        """Return the context of the answer, at the present time; set the record's duration."""
        now = self._clock.monotonic()
        record.duration = now - record.started
        return AnswerContext(remainder, body, record.at(now))

    def _store_timeout(self, endpoint: Endpoint, elapsed: float) -> float:
        """Return the seconds left for storing until this endpoint's sender has to be answered.

        elapsed: since the head; a DNS refresh and reading the body are in it. The least is
            `_MIN_STORE_TIMEOUT`, even when they took all of the time.
        """
        limit = self._answer_within
        if endpoint.answer_deadline is not None:
            limit = min(limit, endpoint.answer_deadline.total_seconds())
        return max(limit - elapsed, _MIN_STORE_TIMEOUT)

    # ---- admission, before the body is read -------------------------------------------------

    async def _admit(
        self, route: Route[Endpoint], head: RequestHead, on_client: OnClient, record: DeliveryRecord
    ) -> ClientAddress:
        """Check the method, the client and the allowlist; return the client.

        Raises:
            Refusal: it is not admitted.
        """
        endpoint = route.endpoint
        if head.method not in route.methods:
            raise Refusal(Reason.METHOD_NOT_ALLOWED)
        client = self._clients.locate(head)
        record.client, record.client_via = client.address, client.via
        on_client(client.address)
        if endpoint.mode is Mode.OFF:
            return client
        entry = await self._find_entry(endpoint, client)
        if entry is not None:
            record.matched_entry, record.matched_host = str(entry.network), entry.host
            return client
        unready = endpoint.allowlist.unready()
        reason = Reason.SOURCE_UNKNOWN if unready else Reason.SOURCE_NOT_ALLOWED
        if endpoint.mode is Mode.REPORT:
            record.would_refuse = reason
            return client
        raise Refusal(reason, f"no addresses yet for {', '.join(unready)}" if unready else "")

    async def _find_entry(self, endpoint: Endpoint, client: ClientAddress) -> Entry | None:
        """Return the entry of the allowlist for this client, after a DNS refresh if need be."""
        entry = endpoint.allowlist.match(client.address)
        if entry is not None or endpoint.knock is None:
            return entry
        # DNS may have changed since the last refresh: the address gets one more chance.
        result = await endpoint.knock.knock()
        entry = endpoint.allowlist.match(client.address)
        if result is KnockResult.LIMITED and entry is None:
            self._telemetry.knocked(endpoint.name, "limited")
        else:
            self._telemetry.knocked(endpoint.name, "not_found" if entry is None else "found")
        return entry

    # ---- verification -----------------------------------------------------------------------

    def _verify(
        self, endpoint: Endpoint, delivery: Delivery, record: DeliveryRecord, read_at: float
    ) -> VerifiedDelivery:
        event = verify_delivery(endpoint, delivery, self._new_id(record.at(read_at)))
        record.secret, record.event_key = event.verification.secret, event.verification.key
        return event

    # ---- store or forward -------------------------------------------------------------------

    async def _store(
        self, event: VerifiedDelivery, record: DeliveryRecord, seconds: float
    ) -> IngestResult:
        """Store the event durably, or find the one that is stored already.

        Raises:
            SpoolUnavailable: it is not known to be stored.
            TimeoutError: not within so many seconds.
        """
        result = await self._spool.put(event, seconds)
        record.id = result.id
        match result:
            case Stored(conflicts_with=None):
                return IngestResult(Verdict.ACCEPTED)
            case Stored():
                self._telemetry.conflicted(event.delivery.endpoint)
                return IngestResult(Verdict.ACCEPTED)
            case Duplicate():
                return IngestResult(Verdict.DUPLICATE)
            case Conflict():
                self._telemetry.conflicted(event.delivery.endpoint)
                return IngestResult(Verdict.CONFLICT, Reason.EVENT_CONFLICT)

    async def _proxy(
        self, route: Route[Endpoint], event: VerifiedDelivery, record: DeliveryRecord
    ) -> tuple[IngestResult, Ack | None]:
        """Forward a delivery; return its result and the provider's form of the upstream's answer.

        The answer is None when the upstream gave none that may be passed back.
        """
        answer = await self._forward(event)
        record.id = event.event_id
        if answer.ack is not None:
            context = self._answer_context(record, route.remainder, event.delivery.body)
            return IngestResult(Verdict.PASSED), route.endpoint.inspector.proxied_answer(
                answer.ack, context
            )
        if isinstance(answer.outcome, Unreachable):
            record.detail = f"{event.upstream} is unreachable: {answer.outcome.cause}"
        else:
            record.detail = f"{event.upstream} answered {answer.outcome.status}"
        late = answer.outcome == Unreachable("timeout")
        return IngestResult(Verdict.UNAVAILABLE, late=late), None


def verify_delivery(endpoint: Endpoint, delivery: Delivery, event_id: str) -> VerifiedDelivery:
    """Verify a delivery by its endpoint's provider; return it as the event with this id.

    Raises:
        Refusal: with the reason of the first check that failed.
    """
    verification = endpoint.inspector.verify(delivery)
    return VerifiedDelivery(
        event_id=event_id,
        provider=endpoint.provider,
        environment=endpoint.environment,
        upstream=endpoint.upstream,
        headers=delivery.head.headers.only(
            *COMMON_HEADERS, *_forwardable_headers(endpoint, verification)
        ),
        delivery=delivery,
        verification=verification,
        confirm=endpoint.confirm,
    )


def _forwardable_headers(endpoint: Endpoint, verification: Verification) -> tuple[str, ...]:
    """Return the names of the provider's header fields that are kept of this delivery.

    Authorization may hold a token. It is kept only as part of a signature that has been verified.
    """
    if verification.secret is not None:
        return endpoint.headers
    return tuple(name for name in endpoint.headers if name.lower() != "authorization")
