"""The inbound pipeline: what a request's head decides, then its body, then storing or forwarding.

The two decisions, `admit` and `accept`, are synchronous; between them the caller waits for what it
must: a knock, the body. A proxied delivery is forwarded instead of stored, and answered with its
upstream's answer. A refusal is answered in the provider's shape. Any other error is ours: the
answer asks the provider to send again, and nothing is acknowledged. One log line records each
delivery, however it ends.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from relay.allowlist import Mode, ProvenAddresses
from relay.core.clock import Clock
from relay.core.concurrency import Cancel, called_back
from relay.core.errors import Reason, Refusal, SpoolUnavailable, UpstreamOverloaded
from relay.core.event import Delivered, ProxyResponse, Unreachable
from relay.core.request import (
    Delivery,
    IngestResult,
    RequestHead,
    Verdict,
    VerifiedDelivery,
)
from relay.ingest.admission import (
    MIN_STORE_TIME,
    Admission,
    Endpoint,
    Standing,
    check_address,
    check_method,
    suffix_of,
    verify_delivery,
)
from relay.ingest.challenges import answer_challenge
from relay.ingest.client_address import Clients
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.outcomes import ACCEPTED, note_unrouted, outcome_of
from relay.ingest.unknown_senders import (
    UNKNOWN_ADDRESS,
    UnknownSenders,
    end_turn,
    may_prove_itself,
    prove,
)
from relay.providers.answers import plain_answer
from relay.spool import PutResult, Spool, SpoolBroken, SpoolOverloaded, Stored
from relay.telemetry import Telemetry

#: Sends a delivery to its upstream, once, and calls back with the answer; returns what cancels it.
#: Raises `UpstreamOverloaded`.
Forward = Callable[[VerifiedDelivery, Callable[[ProxyResponse], None]], Cancel]

#: Called once an admission has its answer; or with what went wrong in answering it.
OnAnswered = Callable[[Exception | None], None]


def _raise(error: Exception | None) -> None:
    """End a request that is awaited."""
    if error is not None:
        raise error


#: Called with a refused delivery from an allowed address. Neither raises nor blocks.
OnRefused = Callable[[Endpoint, Delivery, Refusal], None]


class Ingest:
    """The inbound pipeline of one configuration.

    For each request, in this order: `admit`; `knock` where the admission says so; `accept` with the
    body, or `refuse` when it cannot be had; `complete` with what `accept` returned; and in any case
    `finish`. As soon as the admission has an answer (`Admission.ack`), the steps left are skipped.
    """

    def __init__(
        self,
        *,
        paths: EndpointPaths[Endpoint],
        clients: Clients,
        spool: Spool,
        forward: Forward,
        telemetry: Telemetry,
        clock: Clock,
        new_id: Callable[[datetime], str],
        answer_within: timedelta,
        on_spool_broken: Callable[[SpoolBroken], None],
        on_refused: OnRefused = lambda *_: None,
        unknown_senders: UnknownSenders | None = None,
        proven: ProvenAddresses | None = None,
    ) -> None:
        """Take the parts.

        forward: for proxied deliveries; its own timeout holds for them.
        new_id: returns a new event id of this time.
        answer_within: from the head of a stored delivery to its answer.
        on_spool_broken: called when the spool cannot be trusted any more; the process has to end.
        on_refused: called with what may be released later.
        unknown_senders: decides about addresses that are unknown and prove themselves.
        proven: gets the addresses that a signed message was accepted from.
        """
        self._paths = paths
        self._clients = clients
        self._spool = spool
        self._forward = forward
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self._answer_within = answer_within.total_seconds()
        self._on_spool_broken = on_spool_broken
        self._on_refused = on_refused
        self._unknown_senders = unknown_senders or UnknownSenders(clock, telemetry)
        self._proven = ProvenAddresses(clock) if proven is None else proven
        self._in_flight = 0
        self._idle: list[asyncio.Future[None]] = []

    # ---- the steps of a request -------------------------------------------------------------

    def admit(self, head: RequestHead) -> Admission:
        """Decide by the head: endpoint, method, client, its requests in flight, allowlist. No I/O.

        Raises nothing: a refusal has become the admission's answer.
        """
        admission = Admission(head, self._clock.monotonic())
        self._in_flight += 1
        try:
            admission.match = match = self._paths.find(head)
            endpoint = match.endpoint
            admission.endpoint, admission.provider = endpoint.name, endpoint.provider
            admission.remainder = match.remainder
            check_method(match, head)
            client = self._clients.find(head)
            admission.address = address = client.address
            admission.client, admission.client_via = address.text, address.via
            admission.share = share = client.share
            share.in_flight += 1
            if share.in_flight > self._clients.limit:
                too_many = Refusal(Reason.TOO_MANY_CONNECTIONS, "requests of one client in hand")
                self.refuse(admission, too_many)
            elif not check_address(admission, endpoint, address):
                admission.standing = Standing.KNOCK_FIRST
        except Exception as fault:  # noqa: BLE001 - whatever it is, the provider must come again
            if not may_prove_itself(admission, fault):
                self._fail(admission, fault)
        return admission

    async def knock(self, admission: Admission) -> None:
        """Refresh DNS for a client that is on no list, and decide again: admitted, or answered."""
        try:
            await self._unknown_senders.knock(admission)
        except Exception as fault:  # noqa: BLE001 - as in `admit`
            if not may_prove_itself(admission, fault):
                self._fail(admission, fault)

    def accept(self, admission: Admission, body: bytes, read_at: float) -> VerifiedDelivery | None:
        """Verify the body of what was admitted; return what `complete` has to store or forward.

        Raises nothing. None: it has been refused, and the admission has its answer.

        read_at: monotonic time when the body was complete.
        """
        match, client = admission.match, admission.address
        assert match is not None  # noqa: S101 - it was admitted
        assert client is not None  # noqa: S101 - likewise
        endpoint = match.endpoint
        admission.body, admission.read_at = body, read_at
        admission.body_bytes = len(body)
        head, suffix = admission.head, match.remainder
        if "?" in head.target:
            suffix = suffix_of(endpoint, head, suffix)
        delivery = Delivery(
            endpoint.name, head, client, match.remainder, body, endpoint.json_limits, suffix
        )
        admission.body_sha256 = None if endpoint.token_in_body else delivery.body_sha256
        if endpoint.challenges is not None and self._challenged(admission, delivery):
            return None
        at = admission.received_at
        if read_at != admission.started:
            at = admission.wall_clock(read_at)
        try:
            verify = verify_delivery if admission.unknown is None else partial(prove, admission)
            event = verify(endpoint, delivery, self._new_id(at))
        except Refusal as refusal:
            self.refuse(admission, refusal)
            # What is passed on answers a question, and whoever asked it does not wait.
            listed = admission.matched_entry is not None or endpoint.mode is not Mode.ENFORCE
            if listed and not match.proxied:
                self._on_refused(endpoint, delivery, refusal)
            return None
        except Exception as fault:  # noqa: BLE001 - as in `admit`
            self._fail(admission, fault)
            return None
        admission.verified_at = self._clock.monotonic()
        verification = event.verification
        admission.secret, admission.event_key = verification.secret, verification.key
        # Where a token was masked in it, that of the event is another one.
        admission.body = event.delivery.body
        admission.body_sha256 = event.delivery.body_sha256
        if endpoint.routes:
            admission.upstreams = event.upstreams
        # A test message from a dashboard goes no further in either mode, nor does what is held.
        if not match.proxied or verification.test or verification.hold is not None:
            limit, deadline = self._answer_within, endpoint.answer_deadline
            if deadline is not None:
                limit = min(limit, deadline.total_seconds())
            left = limit - (read_at - admission.started)
            admission.store_time = max(MIN_STORE_TIME, left)
        return event

    async def complete(self, admission: Admission, event: VerifiedDelivery) -> None:
        """Store or forward what was accepted: the admission has its answer when this returns.

        Stored means durable. A spool or an upstream that does not answer becomes an answer, too.
        """
        try:
            if admission.unknown is not None:
                await self._unknown_senders.recognise(admission, event)
            seconds = admission.store_time
            if seconds is None:
                await self._proxy(admission, event)
            else:
                await self._store(admission, event, seconds)
        except Exception as fault:  # noqa: BLE001 - as in `admit`
            self._fail(admission, fault)

    def store(self, admission: Admission, event: VerifiedDelivery, done: OnAnswered) -> None:
        """Store what was accepted, as `complete` does, without a task and without a time-out.

        The caller keeps the admission's `store_time`, and calls `give_up` then.
        """
        try:
            stored = partial(self._stored, admission, event, done)
            admission.cancel = self._spool.put_nowait(event, stored).withdraw
        except Exception as fault:  # noqa: BLE001 - as in `admit`
            self._end(admission, fault, done)

    def give_up(self, admission: Admission, done: OnAnswered) -> None:
        """Answer that the event was not stored in time; it may still be, if it is a moment late."""
        self.cancel(admission)
        self._end(admission, TimeoutError(), done)

    def forward(self, admission: Admission, event: VerifiedDelivery, done: OnAnswered) -> None:
        """Forward what was accepted, as `complete` does, without a task."""
        forwarded = partial(self._forwarded, admission, event, done)
        try:
            cancel = self._forward(event, forwarded)
        except Exception as fault:  # noqa: BLE001 - as in `admit`
            self._end(admission, fault, done)
            return
        if not admission.closed:
            admission.cancel = cancel

    def cancel(self, admission: Admission) -> None:
        """End storing or forwarding, without an answer, if that is under way."""
        if admission.cancel is not None:
            cancel, admission.cancel = admission.cancel, None
            cancel()

    def refuse(self, admission: Admission, refusal: Refusal) -> None:
        """Answer with this refusal, in the provider's shape."""
        if admission.unknown is not None:
            # Whatever else is wrong with it: to a stranger it is its address.
            refusal, admission.unknown = admission.unknown, None
        if refusal.reason in UNKNOWN_ADDRESS:
            self._unknown_senders.refused(admission, refusal)
        admission.standing = Standing.REFUSED
        admission.detail = refusal.detail
        self._answer(admission, IngestResult(Verdict.REFUSED, refusal.reason))

    def finish(self, admission: Admission) -> None:
        """End the request: count and log it, if it has its answer."""
        admission.closed = True
        if admission.share is not None:
            admission.share.in_flight -= 1
            admission.share = None
        if admission.turn is not None:
            end_turn(admission)
        self._in_flight -= 1
        if not self._in_flight and self._idle:
            idle, self._idle = self._idle, []
            for waiter in idle:
                if not waiter.done():
                    waiter.set_result(None)
        if admission.ack is not None:
            admission.status = admission.ack.status
            # Its log line may have to wait, and needs neither head nor body.
            admission.body = b""
            del admission.head
            self._telemetry.received(admission)

    async def idle(self) -> None:
        """Return when no request is in flight."""
        if self._in_flight:
            waiter = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter

    # ---- answers ----------------------------------------------------------------------------

    def _challenged(self, admission: Admission, delivery: Delivery) -> bool:
        """Answer a challenge, which is no event and is kept nowhere; return whether it is one."""
        try:
            answered = answer_challenge(admission, delivery)
        except Exception as fault:  # noqa: BLE001 - as in `admit`
            self._fail(admission, fault)
            return True
        if answered:
            admission.duration = self._clock.monotonic() - admission.started
        return answered

    def _answer(self, admission: Admission, result: IngestResult) -> None:
        """Set the answer for this result, and say in the record what it is."""
        admission.verdict, admission.reason = result.verdict, result.reason
        admission.duration = self._clock.monotonic() - admission.started
        if admission.match is not None:
            admission.ack = admission.match.endpoint.inspector.answer(result, admission)
            return
        # A path of no endpoint; below a prefix, the answer has its provider's shape.
        endpoint = self._paths.prefix_endpoint(admission.head)
        if endpoint is None:
            admission.ack = plain_answer(result)
        else:
            admission.ack = endpoint.inspector.answer(result, admission)

    def _fail(self, admission: Admission, fault: Exception) -> None:
        """Answer what went wrong: a refusal as one, everything else so that it is sent again."""
        match fault:
            case Refusal():
                self.refuse(admission, fault)
                return
            case SpoolOverloaded() | UpstreamOverloaded():
                result = IngestResult(Verdict.UNAVAILABLE, Reason.OVERLOAD)
                admission.detail = str(fault)
            case SpoolUnavailable() | TimeoutError():
                result = IngestResult(Verdict.UNAVAILABLE, late=isinstance(fault, TimeoutError))
                if isinstance(fault, SpoolBroken):
                    self._on_spool_broken(fault)
                admission.detail = str(fault) or "no answer from the spool in time"
            case _:
                result = IngestResult(Verdict.UNAVAILABLE)
                self._telemetry.log.fault("delivery_fault", fault, endpoint=admission.endpoint)
        admission.standing = Standing.REFUSED
        self._answer(admission, result)

    # ---- store or forward -------------------------------------------------------------------

    async def _store(self, admission: Admission, event: VerifiedDelivery, seconds: float) -> None:
        """Store the event durably, or find the one that is stored already.

        Raises:
            SpoolUnavailable: it is not known to be stored.
            TimeoutError: not within so many seconds.
        """
        stored = await self._spool.put(event, seconds)
        self._stored(admission, event, _raise, stored)

    def _stored(
        self,
        admission: Admission,
        event: VerifiedDelivery,
        done: OnAnswered,
        stored: PutResult | SpoolUnavailable,
    ) -> None:
        """Answer what came of storing."""
        admission.cancel = None
        if admission.closed:
            # It was late, and its sender has been told so.
            return
        if isinstance(stored, SpoolUnavailable):
            self._end(admission, stored, done)
            return
        try:
            assert admission.match is not None  # noqa: S101 - it was admitted
            admission.id = stored.id
            if not event.upstreams and type(stored) is Stored:
                note_unrouted(admission, event, self._telemetry)
            result, now = ACCEPTED, self._clock.monotonic()
            admission.duration = now - admission.started
            if (
                type(stored) is not Stored
                or stored.conflicts_with is not None
                or stored.repeats is not None
                or event.verification.hold is not None
            ):
                result = outcome_of(admission, event, stored, self._telemetry)
            elif admission.secret is not None:
                # An address that is known costs no call.
                if (client := admission.client or admission.peer) in self._proven:
                    self._proven[client] = now
                else:
                    self._proven.add(client, now)
            admission.verdict, admission.reason = result.verdict, result.reason
            admission.ack = admission.match.endpoint.inspector.answer(result, admission)
        except Exception as fault:  # noqa: BLE001 - as in `admit`
            self._end(admission, fault, done)
        else:
            done(None)

    def _end(self, admission: Admission, fault: Exception, done: OnAnswered) -> None:
        """Answer this fault; an answer that cannot be given is for the caller to report."""
        try:
            self._fail(admission, fault)
        except Exception as error:  # noqa: BLE001 - it is reported
            done(error)
        else:
            done(None)

    async def _proxy(self, admission: Admission, event: VerifiedDelivery) -> None:
        """Forward a delivery; answer with the provider's form of the upstream's answer.

        Where the upstream gave none that may be passed back, the sender has to come again.
        """
        answer = await called_back(partial(self._forward, event))
        self._forwarded(admission, event, _raise, answer)

    def _forwarded(
        self,
        admission: Admission,
        event: VerifiedDelivery,
        done: OnAnswered,
        answer: ProxyResponse,
    ) -> None:
        """Answer what came of forwarding."""
        admission.cancel = None
        try:
            assert admission.match is not None  # noqa: S101 - it was admitted
            admission.id = event.event_id
            if answer.ack is not None:
                now = self._clock.monotonic()
                admission.duration = now - admission.started
                if isinstance(answer.outcome, Delivered) and admission.secret is not None:
                    client, key = admission.client or admission.peer, event.verification.key
                    self._proven.add_passed(client, now, f"{admission.endpoint} {key}")
                inspector = admission.match.endpoint.inspector
                admission.ack = inspector.proxied_answer(answer.ack, admission)
                admission.verdict = Verdict.PASSED
            else:
                admission.detail = f"{event.upstreams[0]} answered {answer.outcome.status}"
                if isinstance(answer.outcome, Unreachable):
                    admission.detail = (
                        f"{event.upstreams[0]} is unreachable: {answer.outcome.cause}"
                    )
                late = answer.outcome == Unreachable("timeout")
                self._answer(admission, IngestResult(Verdict.UNAVAILABLE, late=late))
        except Exception as fault:  # noqa: BLE001 - as in `admit`
            self._end(admission, fault, done)
        else:
            done(None)
