"""A delivery is answered once, stored before it is acknowledged, and accounted for."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest
from netaddr import IPNetwork

from relay import providers
from relay.allowlist import (
    AddressChange,
    AddressSource,
    Allowlist,
    Entry,
    Mode,
    SourceStatus,
    StaticSource,
)
from relay.allowlist.registry import Knock
from relay.core.clock import Clock, SystemClock
from relay.core.conditions import JsonCondition
from relay.core.errors import Reason, Refusal
from relay.core.event import Outcome, ProxiedDelivery, Rejected, Unreachable
from relay.core.ids import event_ids
from relay.core.request import (
    Ack,
    Delivery,
    ForwardedHeader,
    Headers,
    IngestResult,
    References,
    RequestHead,
    Verdict,
    Verification,
)
from relay.core.secret import Secret
from relay.delivery.proxy import ProxyForwarder, ProxyUpstream
from relay.delivery.sender import HttpSender
from relay.ingest.admission import Endpoint
from relay.ingest.client_address import ClientLocator, Clients
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.pipeline import Forward, Ingest
from relay.ingest.upstream_routes import UpstreamRoute
from relay.providers import (
    EndpointOptions,
    Environment,
    Inspector,
    Provider,
    RequestShape,
    SampleOrder,
)
from relay.providers.builtin import provider_named
from relay.providers.inline import Description, JsonField, SignatureRule
from relay.providers.inline.provider import InlineProvider
from relay.signatures import (
    OnSigned,
    ignore_signed,
)
from relay.spool import Spool, SpoolBroken
from relay.spool.history import Query
from relay.spool.sqlite import open_spool
from relay.telemetry import Telemetry
from relay.telemetry.gauges import Snapshot
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import CountingClock, ManualClock
from tests.harness.deliveries import AnswerContext
from tests.harness.edge import nothing_passes
from tests.harness.upstream import (
    Behaviour,
    RefusingPort,
    Upstream,
    answer,
    close,
    hang,
    reset,
    when,
)
from tests.ingest.endpoints import receive

MIDTRANS: Provider = provider_named("midtrans")
SECRET = Secret("SB-Mid-server-of-the-tests")
LISTED, STRANGER = "34.101.68.130", "203.0.113.66"


@dataclass
class HostOnOrder:
    """An address source whose next look finds what the test says."""

    known: list[str] = field(default_factory=list)
    next_look: list[str] = field(default_factory=list)
    generation: int = 0

    def entries(self) -> list[Entry]:
        return [Entry(IPNetwork(each), "dns", "host.example") for each in self.known]

    def changes(self) -> list[AddressChange]:
        return []

    def status(self) -> SourceStatus:
        return SourceStatus("host.example", len(self.known), None, None)

    async def run(self) -> None: ...

    async def refresh(self) -> None:
        self.known = self.next_look
        self.generation += 1


@dataclass
class Bench:
    """An `Ingest` with one endpoint, and what it told."""

    spool: Spool
    log: io.BytesIO = field(default_factory=io.BytesIO)
    gave_up: list[SpoolBroken] = field(default_factory=list)
    forward: Forward = nothing_passes
    per_client: int = 10
    passed: list[ProxiedDelivery] = field(default_factory=list)
    refused: list[tuple[str, bytes, Reason]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = LogWriter(self.log)
        self.telemetry = Telemetry(Log(self.writer, SystemClock()))

    def endpoint(self, *sources: AddressSource, mode: Mode = Mode.ENFORCE) -> Endpoint:
        return Endpoint(
            name="midtrans",
            path="/hook",
            methods=("POST",),
            shapes=(),
            provider="midtrans",
            environment="sandbox",
            upstreams=("billing",),
            inspector=MIDTRANS.bind(EndpointOptions(secrets=(SECRET,))),
            headers=(),
            allowlist=Allowlist(sources or [StaticSource("midtrans", [(LISTED, "test")])]),
            mode=mode,
            knock=None,
        )

    def ingest(
        self, endpoint: Endpoint, answer_within: float = 5.0, clock: Clock | None = None
    ) -> Ingest:
        return Ingest(
            paths=EndpointPaths([endpoint]),
            clients=Clients(ClientLocator([], ForwardedHeader.X_FORWARDED_FOR), self.per_client),
            spool=self.spool,
            forward=self.forward,
            telemetry=self.telemetry,
            clock=clock or SystemClock(),
            new_id=event_ids(),
            answer_within=timedelta(seconds=answer_within),
            on_spool_broken=self.gave_up.append,
            on_refused=self._keep_refused,
        )

    def _keep_refused(self, endpoint: Endpoint, delivery: Delivery, refusal: Refusal) -> None:
        self.refused.append((endpoint.name, delivery.body, refusal.reason))

    def proxied(self, inspector: Inspector | None = None) -> Endpoint:
        endpoint = replace(self.endpoint(), proxied=True)
        return endpoint if inspector is None else replace(endpoint, inspector=inspector)

    @asynccontextmanager
    async def passing(
        self, url: str, *, within: float = 5.0, concurrency: int = 4
    ) -> AsyncIterator[None]:
        """Pass deliveries on to this URL, as long as it lasts."""
        limit = timedelta(seconds=within)
        forwarder = HttpSender(url, timeout=limit, concurrency=concurrency, clock=SystemClock())
        self.forward = ProxyForwarder(
            proxy_upstreams={"billing": ProxyUpstream(forwarder, concurrency)},
            clock=SystemClock(),
            observer=self.telemetry,
            note=self.passed.append,
        ).start
        try:
            yield
        finally:
            await forwarder.close()

    def lines(self) -> list[dict[str, Any]]:
        self.writer.close()
        return [orjson.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    spool = await open_spool(tmp_path / "relay.db", SystemClock())
    yield Bench(spool)
    await spool.close()


def head(peer: str = LISTED, method: str = "POST", target: str = "/hook") -> RequestHead:
    headers = Headers((("Content-Type", "application/json"), ("Cookie", "c"), ("Accept", "*/*")))
    return RequestHead(method, target, headers, ip_address(peer), SystemClock().now())


def body(**changes: str) -> bytes:
    order = SampleOrder("https://relay.test/hook", SECRET, SystemClock().now(), changes)
    return MIDTRANS.sample(order).body


def reading(content: bytes) -> Callable[[], Any]:
    async def read() -> bytes:
        return content

    return read


async def unread() -> bytes:
    raise AssertionError("the body of somebody who is not admitted was read")


async def test_a_genuine_delivery_is_on_disk_when_it_is_answered(bench: Bench) -> None:
    ack = await receive(bench.ingest(bench.endpoint()), head(), reading(body()))
    assert ack.status == 200
    (record,) = (await bench.spool.page(Query())).records
    assert record.client == LISTED
    (line,) = bench.lines()
    assert (line["verdict"], line["id"], line["status"]) == ("accepted", record.id, 200)


@pytest.mark.parametrize(
    ("status", "routed"), [("settlement", ["ledger"]), ("expire", []), ("deny", ["billing"])]
)
async def test_an_event_goes_where_its_route_leads(
    status: str, routed: list[str], bench: Bench
) -> None:
    routes = (
        UpstreamRoute(JsonCondition("/transaction_status", ("settlement",)), ("ledger",)),
        UpstreamRoute(JsonCondition("/transaction_status", ("expire", "cancel")), ()),
    )
    bench.telemetry.init_series({"midtrans": "midtrans"}, [])
    ingest = bench.ingest(replace(bench.endpoint(), routes=routes))
    sent = body(transaction_status=status)
    for _ in range(2):
        assert (await receive(ingest, head(), reading(sent))).status == 200
    (record,) = (await bench.spool.page(Query())).records
    assert [each.upstream for each in record.destinations] == routed
    exposed = bench.telemetry.expose(Snapshot())
    assert b'relay_unrouted_total{endpoint="midtrans"} %d.0' % (not routed) in exposed
    first, copy = bench.lines()
    assert (first["verdict"], first.get("unrouted")) == ("accepted", True if not routed else None)
    assert (copy["verdict"], copy.get("unrouted")) == ("duplicate", None)


async def test_the_clock_is_read_at_the_head_behind_the_body_and_at_the_answer(
    bench: Bench,
) -> None:
    clock = CountingClock()
    ingest = bench.ingest(bench.endpoint(), clock=clock)
    assert (await receive(ingest, head(), reading(body()))).status == 200
    assert clock.reads == {("relay.ingest.pipeline", "monotonic"): 3}


async def test_a_log_line_that_waits_keeps_no_request(bench: Bench) -> None:
    ingest = bench.ingest(bench.endpoint())
    admission = ingest.admit(head())
    event = ingest.accept(admission, body(), admission.started)
    assert event is not None
    await ingest.complete(admission, event)
    ingest.finish(admission)
    assert admission.body == b""
    assert not hasattr(admission, "head")


async def test_times_of_a_delivery_are_the_receipts_carried_on(bench: Bench) -> None:
    clock, inspector = ManualClock(), Listening()
    received = replace(head(), received_at=clock.now() - timedelta(hours=1))

    async def read() -> bytes:
        await clock.advance(2.5)
        return body()

    endpoint = replace(bench.endpoint(), inspector=inspector)
    await receive(bench.ingest(endpoint, clock=clock), received, read, clock)
    answered_at = received.received_at + timedelta(seconds=2.5)
    assert [context.at for context in inspector.contexts] == [answered_at]
    (line,) = bench.lines()
    assert line["duration_ms"] == 2500
    assert int(line["id"][4:16], 16) == int(answered_at.timestamp() * 1000)


async def test_authorization_passes_only_as_part_of_a_verified_signature(bench: Bench) -> None:
    vipps: Provider = provider_named("vipps")
    unsigned = replace(
        bench.endpoint(), inspector=vipps.bind(EndpointOptions()), headers=vipps.info.headers
    )
    token = Headers((("Authorization", "Bearer canary"), ("x-ms-date", "now")))
    asked = replace(head(), headers=token)
    assert (await receive(bench.ingest(unsigned), asked, reading(b"{}"))).status == 200
    (record,) = (await bench.spool.page(Query())).records
    found = await bench.spool.get(record.id)
    assert found is not None
    assert found[1] is not None
    assert [name for name, _ in found[1].headers] == ["x-ms-date"]


async def test_of_a_body_with_a_token_only_the_masked_one_is_known(bench: Bench) -> None:
    rule = SignatureRule("token", JsonField("/t"))
    sender = InlineProvider(Description("test", rule, {"live": Environment()}))
    inspector = sender.bind(EndpointOptions(secrets=(Secret("canary"),)))
    endpoint = replace(bench.endpoint(), inspector=inspector, token=True, token_in_body=True)
    ingest = bench.ingest(endpoint)
    await receive(ingest, head(), reading(b'{"a": 1, "t": "canary"}'))
    await receive(ingest, head(), reading(b'{"a": 1, "t": "canaries"}'))
    [record] = (await bench.spool.page(Query())).records
    found = await bench.spool.get(record.id)
    assert found is not None
    assert found[1] is not None
    assert (found[1].body, found[1].redacted) == (b'{"a":1,"t":"***"}', ("/t",))
    digest = sha256(b'{"a":1,"t":"***"}').hexdigest()
    assert record.key == f"sha256:{digest}"
    assert [line.get("body_sha256") for line in bench.lines()] == [digest, None]
    assert b"canar" not in bench.log.getvalue()


async def test_only_harmless_headers_are_kept(bench: Bench) -> None:
    await receive(bench.ingest(bench.endpoint()), head(), reading(body()))
    (record,) = (await bench.spool.page(Query())).records
    found = await bench.spool.get(record.id)
    assert found is not None
    assert found[1] is not None
    assert [name for name, _ in found[1].headers] == ["Content-Type", "Accept"]


@pytest.mark.parametrize("confirm", [False, True])
async def test_what_is_to_be_asked_about_is_stored_as_such(confirm: bool, bench: Bench) -> None:
    endpoint = replace(bench.endpoint(), confirm=confirm)
    await receive(bench.ingest(endpoint), head(), reading(body()))
    (record,) = (await bench.spool.page(Query())).records
    found = await bench.spool.get(record.id)
    assert found is not None
    assert found[1] is not None
    assert found[1].confirm is confirm


async def test_a_stranger_is_refused_before_the_body_is_read(bench: Bench) -> None:
    ack = await receive(bench.ingest(bench.endpoint()), head(STRANGER), unread)
    assert ack.status == 403
    (line,) = bench.lines()
    assert (line["verdict"], line["reason"]) == ("refused", "source_not_allowed")


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        (head(method="PUT"), 405, "method_not_allowed"),
        (head(target="/other"), 404, "unknown_endpoint"),
        (head(STRANGER, method="PUT"), 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_ours_is_refused_unread(
    asked: RequestHead, status: int, reason: str, bench: Bench
) -> None:
    ack = await receive(bench.ingest(bench.endpoint()), asked, unread)
    assert ack.status == status
    assert bench.lines()[0]["reason"] == reason


async def test_an_unknown_path_below_a_prefix_is_answered_in_its_senders_shape(
    bench: Bench,
) -> None:
    inspector = Listening()
    shapes = (RequestShape("POST", "/v1"),)
    ingest = bench.ingest(replace(bench.endpoint(), inspector=inspector, shapes=shapes))
    assert (await receive(ingest, head(target="/hook/v2"), unread)).status == 404
    assert (await receive(ingest, head(target="/hooks"), unread)).status == 404
    assert inspector.rulings == [IngestResult(Verdict.REFUSED, Reason.UNKNOWN_ENDPOINT)]


async def test_report_admits_and_says_what_enforcing_would_refuse(bench: Bench) -> None:
    ingest = bench.ingest(bench.endpoint(mode=Mode.REPORT))
    assert (await receive(ingest, head(STRANGER), reading(body()))).status == 200
    (line,) = bench.lines()
    assert (line["verdict"], line["would_refuse"]) == ("accepted", "source_not_allowed")


async def test_off_does_not_ask_who_is_calling(bench: Bench) -> None:
    ingest = bench.ingest(bench.endpoint(mode=Mode.OFF))
    assert (await receive(ingest, head(STRANGER), reading(body()))).status == 200
    assert "would_refuse" not in bench.lines()[0]


async def test_a_source_that_knows_nothing_yet_has_its_own_reason(bench: Bench) -> None:
    ingest = bench.ingest(bench.endpoint(HostOnOrder()))
    assert (await receive(ingest, head(), unread)).status == 403
    assert bench.lines()[0]["reason"] == "source_unknown"


@pytest.mark.parametrize(
    ("next_look", "status", "result"), [([LISTED], 200, "found"), (["192.0.2.1"], 403, "not_found")]
)
async def test_a_knock_decides_by_what_the_next_look_finds(
    next_look: list[str], status: int, result: str, bench: Bench
) -> None:
    host = HostOnOrder(["192.0.2.1"], next_look)
    knock = Knock([host], timedelta(seconds=5), SystemClock())
    ingest = bench.ingest(replace(bench.endpoint(host), knock=knock))
    assert (await receive(ingest, head(), reading(body()))).status == status
    text = bench.telemetry.expose(Snapshot()).decode()
    assert f'allowlist_knocks_total{{endpoint="midtrans",result="{result}"}} 1.0' in text


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.REPORT])
async def test_what_an_allowed_address_was_refused_is_kept(mode: Mode, bench: Bench) -> None:
    ingest = bench.ingest(bench.endpoint(mode=mode))
    assert (await receive(ingest, head(), reading(b"{"))).status == 400
    assert bench.refused == [("midtrans", b"{", Reason.BODY_MALFORMED)]


@pytest.mark.parametrize("mode", Mode)
async def test_of_a_stranger_something_is_kept_only_where_no_address_is_enforced(
    mode: Mode, bench: Bench
) -> None:
    ingest = bench.ingest(bench.endpoint(mode=mode))
    assert (await receive(ingest, head(STRANGER), reading(b"{"))).status in {400, 403}
    kept = [("midtrans", b"{", Reason.BODY_MALFORMED)]
    assert bench.refused == ([] if mode is Mode.ENFORCE else kept)


async def test_nothing_is_kept_of_what_was_not_read_or_is_passed_on(bench: Bench) -> None:
    async def slow() -> bytes:
        raise Refusal(Reason.BODY_TIMEOUT)

    await receive(bench.ingest(bench.endpoint()), head(), slow)
    await receive(bench.ingest(bench.proxied()), head(), reading(b"{"))
    assert bench.refused == []


async def test_a_body_that_may_not_be_had_is_a_refusal(bench: Bench) -> None:
    async def slow() -> bytes:
        raise Refusal(Reason.BODY_TIMEOUT)

    assert (await receive(bench.ingest(bench.endpoint()), head(), slow)).status == 408


async def test_a_spool_that_does_not_answer_in_time_is_no_success(
    bench: Bench, tmp_path: Path
) -> None:
    with closing(apsw.Connection(str(tmp_path / "relay.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        inspector = Listening()
        endpoint = replace(bench.endpoint(), inspector=inspector)
        ingest = bench.ingest(endpoint, answer_within=0.1)
        ack = await receive(ingest, head(), reading(body()))
        other.execute("ROLLBACK")
    assert ack.status == 502
    assert inspector.rulings == [IngestResult(Verdict.UNAVAILABLE, late=True)]
    (line,) = bench.lines()
    assert (line["verdict"], line["level"]) == ("unavailable", "error")


async def test_a_sender_in_a_hurry_is_answered_sooner(bench: Bench, tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / "relay.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        inspector = Listening()
        hurried = replace(
            bench.endpoint(), inspector=inspector, answer_deadline=timedelta(milliseconds=100)
        )
        ack = await receive(bench.ingest(hurried, answer_within=60), head(), reading(body()))
        other.execute("ROLLBACK")
    assert ack.status == 502
    # Late by our own limit, not because the spool gave up.
    assert inspector.rulings == [IngestResult(Verdict.UNAVAILABLE, late=True)]


async def test_what_comes_before_storing_takes_its_part_of_the_time(
    bench: Bench, tmp_path: Path
) -> None:
    clock = ManualClock()

    async def read() -> bytes:
        await clock.advance(3600)
        return body()

    with closing(apsw.Connection(str(tmp_path / "relay.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        inspector = Listening()
        endpoint = replace(bench.endpoint(), inspector=inspector)
        # With an hour for storing alone, the test would wait for it.
        ack = await receive(bench.ingest(endpoint, answer_within=3600, clock=clock), head(), read)
        other.execute("ROLLBACK")
    assert ack.status == 502
    assert inspector.rulings == [IngestResult(Verdict.UNAVAILABLE, late=True)]


class Exploding:
    """An inspector with a mistake in it."""

    signs_query = False

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        raise KeyError(delivery.endpoint)

    def references(self, delivery: Delivery) -> References:
        raise KeyError(delivery.endpoint)

    def answer(self, result: IngestResult, asked: providers.AnswerContext) -> Ack:
        return MIDTRANS.bind(EndpointOptions(secrets=(SECRET,))).answer(result, asked)

    def proxied_answer(self, answered: Ack, asked: providers.AnswerContext) -> Ack:
        return answered


async def test_our_own_mistake_asks_the_provider_to_come_again(bench: Bench) -> None:
    endpoint = replace(bench.endpoint(), inspector=Exploding())
    ack = await receive(bench.ingest(endpoint), head(), reading(body()))
    assert ack.status == 502
    assert [line["event"] for line in bench.lines()] == ["delivery_fault", "delivery"]


async def test_a_spool_that_cannot_be_trusted_ends_the_process(bench: Bench) -> None:
    class Broken(Exploding):
        def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
            raise SpoolBroken("disk I/O error")

    endpoint = replace(bench.endpoint(), inspector=Broken())
    ack = await receive(bench.ingest(endpoint), head(), reading(body()))
    assert ack.status == 502
    assert len(bench.gave_up) == 1


# ---- proxied --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 299, 400, 401, 403, 404, 409, 422, 499])
async def test_a_proxied_delivery_is_answered_as_its_upstream_answers(
    status: int, bench: Bench
) -> None:
    fields = [("Content-Type", "application/problem+json"), ("Set-Cookie", "a=b")]
    content = body()
    async with (
        Upstream(answer(status, fields, b'{"a":1}')) as upstream,
        bench.passing(upstream.url),
    ):
        ack = await receive(bench.ingest(bench.proxied()), head(), reading(content))
    assert ack == Ack(status, b'{"a":1}', "application/problem+json")
    [received] = upstream.received
    assert (received.method, received.body) == ("POST", content)
    assert received.values("Relay-Attempt") == ["1"]
    assert received.values("Cookie") == []
    told = {line["event"]: line for line in bench.lines()}
    assert (told["delivery"]["verdict"], told["delivery"]["status"]) == ("passed", status)
    assert told["attempt"]["decision"] == "passed"
    assert received.values("webhook-id") == [told["delivery"]["id"]] == [told["attempt"]["id"]]


async def test_a_proxied_delivery_is_not_stored_and_no_duplicate(bench: Bench) -> None:
    content = body()
    async with Upstream() as upstream, bench.passing(upstream.url):
        ingest = bench.ingest(bench.proxied())
        for _ in range(2):
            assert (await receive(ingest, head(), reading(content))).status == 200
    assert len(upstream.received) == 2
    assert len({each.values("webhook-id")[0] for each in upstream.received}) == 2
    assert (await bench.spool.page(Query())).records == ()
    assert len(bench.passed) == 2


@dataclass
class Listening:
    """An inspector that remembers what it was asked, and cannot shape an answer if told so."""

    signs_query = False
    rulings: list[IngestResult] = field(default_factory=list)
    contexts: list[AnswerContext] = field(default_factory=list)
    passing: list[tuple[Ack, AnswerContext]] = field(default_factory=list)
    broken: bool = False
    bound: Inspector = field(
        default_factory=lambda: MIDTRANS.bind(EndpointOptions(secrets=(SECRET,)))
    )

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        return self.bound.verify(delivery, on_signed)

    def references(self, delivery: Delivery) -> References:
        return self.bound.references(delivery)

    def answer(self, result: IngestResult, asked: providers.AnswerContext) -> Ack:
        self.rulings.append(result)
        self.contexts.append(AnswerContext(asked.remainder, asked.body, asked.at))
        return self.bound.answer(result, asked)

    def proxied_answer(self, answered: Ack, asked: providers.AnswerContext) -> Ack:
        if self.broken:
            raise KeyError(answered.status)
        self.passing.append((answered, AnswerContext(asked.remainder, asked.body, asked.at)))
        return Ack(299, b"shaped")


async def test_the_provider_shapes_what_is_passed_back(bench: Bench) -> None:
    inspector, content = Listening(), body()
    async with Upstream(answer(204)) as upstream, bench.passing(upstream.url):
        ack = await receive(bench.ingest(bench.proxied(inspector)), head(), reading(content))
    assert ack == Ack(299, b"shaped")
    [(answered, asked)] = inspector.passing
    assert answered == Ack(204, b"", "")
    assert (asked.remainder, asked.body) == ("", content)
    assert inspector.rulings == []


async def test_a_provider_that_cannot_shape_it_asks_for_another_try(bench: Bench) -> None:
    async with Upstream() as upstream, bench.passing(upstream.url):
        endpoint = bench.proxied(Listening(broken=True))
        ack = await receive(bench.ingest(endpoint), head(), reading(body()))
    assert ack.status == 502
    assert [line["event"] for line in bench.lines()] == ["attempt", "delivery_fault", "delivery"]


@pytest.mark.parametrize(
    ("behaviour", "outcome", "late", "detail"),
    [
        (answer(301, [("Location", "/")]), Rejected(301), False, "billing answered 301"),
        (answer(500, body=b"Traceback"), Rejected(500), False, "billing answered 500"),
        (answer(503), Rejected(503), False, "billing answered 503"),
        (hang, Unreachable("timeout"), True, "billing is unreachable: timeout"),
        (reset, Unreachable("reset"), False, "billing is unreachable: reset"),
        (close, Unreachable("closed"), False, "billing is unreachable: closed"),
    ],
)
async def test_an_upstream_in_trouble_is_the_patient_answer(
    behaviour: Behaviour, outcome: Outcome, late: bool, detail: str, bench: Bench
) -> None:
    inspector = Listening()
    async with Upstream(behaviour) as upstream, bench.passing(upstream.url, within=0.3):
        ack = await receive(bench.ingest(bench.proxied(inspector)), head(), reading(body()))
        assert len(upstream.received) == 1
    assert (ack.status, ack.body) == (502, b"")
    assert inspector.rulings == [IngestResult(Verdict.UNAVAILABLE, late=late)]
    assert [each.outcome for each in bench.passed] == [outcome]
    line = next(line for line in bench.lines() if line["event"] == "delivery")
    assert (line["verdict"], line["detail"]) == ("unavailable", detail)


async def test_a_port_that_refuses_is_the_patient_answer(bench: Bench) -> None:
    with RefusingPort() as url:
        async with bench.passing(url):
            ack = await receive(bench.ingest(bench.proxied()), head(), reading(body()))
    assert ack.status == 502
    assert [each.outcome for each in bench.passed] == [Unreachable("refused")]


@pytest.mark.parametrize(
    ("asked", "content", "status"),
    [
        (head(STRANGER), body(), 403),
        (head(method="PUT"), body(), 405),
        (head(), body().replace(b'"gross_amount": "', b'"gross_amount": "9'), 401),
        (head(), b"{", 400),
    ],
)
async def test_what_is_refused_never_reaches_the_upstream(
    asked: RequestHead, content: bytes, status: int, bench: Bench
) -> None:
    ack = await receive(bench.ingest(bench.proxied()), asked, reading(content))
    assert ack.status == status
    assert bench.lines()[-1]["verdict"] == "refused"


async def test_a_dashboard_test_message_goes_no_further_in_proxy_mode_either(bench: Bench) -> None:
    content = body(order_id="payment_notif_test_M004123_1")
    assert (await receive(bench.ingest(bench.proxied()), head(), reading(content))).status == 200
    [record] = (await bench.spool.page(Query())).records
    assert record.status == "test"


async def test_the_upstream_may_take_longer_than_our_own_part(bench: Bench) -> None:
    release = asyncio.Event()
    async with Upstream(when(release, answer(200))) as upstream, bench.passing(upstream.url):
        ingest = bench.ingest(bench.proxied(), answer_within=0.01)
        receiving = asyncio.ensure_future(receive(ingest, head(), reading(body())))
        await upstream.has_received(1)
        asyncio.get_running_loop().call_later(0.05, release.set)
        assert (await receiving).status == 200


async def test_a_crowd_is_turned_away_at_once(bench: Bench) -> None:
    release, inspector = asyncio.Event(), Listening()
    async with (
        Upstream(when(release, answer(200))) as upstream,
        bench.passing(upstream.url, concurrency=1),
    ):
        ingest = bench.ingest(bench.proxied(inspector))
        first = [asyncio.ensure_future(receive(ingest, head(), reading(body()))) for _ in range(2)]
        await upstream.has_received(1)
        assert (await receive(ingest, head(), reading(body()))).status == 502
        release.set()
        assert {(await each).status for each in first} == {299}
    assert inspector.rulings == [IngestResult(Verdict.UNAVAILABLE, Reason.OVERLOAD)]
    assert len(upstream.received) == len(bench.passed) == 2
    turned_away = [line for line in bench.lines() if line.get("reason") == "overload"]
    assert [line["verdict"] for line in turned_away] == ["unavailable"]


async def test_a_proxied_shape_is_passed_on_from_an_endpoint_that_stores(bench: Bench) -> None:
    shapes = (RequestShape("POST", "/stored"), RequestShape("POST", "/asked/{id}", proxied=True))
    endpoint = replace(bench.endpoint(), shapes=shapes)
    async with Upstream() as upstream, bench.passing(upstream.url + "/base"):
        ingest = bench.ingest(endpoint)
        for target in ("/hook/stored", "/hook/asked/7?a=b"):
            assert (await receive(ingest, head(target=target), reading(body()))).status == 200
    assert [each.target for each in upstream.received] == ["/base/asked/7?a=b"]
    assert len((await bench.spool.page(Query())).records) == 1


async def test_a_client_with_enough_in_hand_is_asked_to_come_again(bench: Bench) -> None:
    host = HostOnOrder()
    knock = Knock([host], timedelta(seconds=1), SystemClock())
    endpoint = replace(bench.endpoint(host), knock=knock)
    bench.per_client = 1
    ingest = bench.ingest(endpoint)
    in_flight = ingest.admit(head(STRANGER))
    ack = await receive(ingest, head(STRANGER), unread)
    assert (ack.status, host.generation) == (502, 0)
    ingest.finish(in_flight)
    (line,) = bench.lines()
    assert (line["endpoint"], line["reason"]) == ("midtrans", "too_many_connections")
    assert line["client"] == STRANGER


async def test_one_client_has_no_more_in_flight_than_its_share(bench: Bench) -> None:
    bench.per_client = 2
    ingest = bench.ingest(bench.endpoint())
    for _ in range(5):
        # What is finished is in flight no more.
        ingest.finish(ingest.admit(head()))
    in_flight = [ingest.admit(head()) for _ in range(3)]
    assert [each.ack is None for each in in_flight] == [True, True, False]
    assert ingest.admit(head(STRANGER)).reason is Reason.SOURCE_NOT_ALLOWED
    ingest.finish(in_flight.pop())
    assert ingest.admit(head()).reason is Reason.TOO_MANY_CONNECTIONS


async def test_ingest_is_idle_when_every_request_is_finished(bench: Bench) -> None:
    ingest = bench.ingest(bench.endpoint())
    await ingest.idle()
    first, second = ingest.admit(head()), ingest.admit(head(STRANGER))
    idle = asyncio.ensure_future(ingest.idle())
    ingest.finish(first)
    await asyncio.sleep(0)
    assert not idle.done()
    ingest.finish(second)
    await idle
    # What was given up unanswered is no delivery.
    assert [line["status"] for line in bench.lines()] == [403]


# ---- proven addresses -----------------------------------------------------------------------


async def test_an_address_is_proven_by_a_signed_message_that_is_accepted(bench: Bench) -> None:
    ingest, address = bench.ingest(bench.endpoint(mode=Mode.OFF)), ip_address(STRANGER)
    genuine = body()
    assert (await receive(ingest, head(STRANGER), reading(b"{}"))).status == 401
    assert not ingest._proven.holds(address)
    assert (await receive(ingest, head(LISTED), reading(genuine))).status == 200
    # Whoever has overheard it can send it again.
    assert (await receive(ingest, head(STRANGER), reading(genuine))).status == 200
    assert not ingest._proven.holds(address)
    assert (await receive(ingest, head(STRANGER), reading(body()))).status == 200
    assert ingest._proven.holds(address)


async def test_a_copy_of_what_is_passed_on_proves_no_address_either(bench: Bench) -> None:
    address, genuine = ip_address(STRANGER), body()
    async with Upstream() as upstream, bench.passing(upstream.url):
        ingest = bench.ingest(replace(bench.proxied(), mode=Mode.OFF))
        assert (await receive(ingest, head(LISTED), reading(genuine))).status == 200
        assert ingest._proven.holds(ip_address(LISTED))
        assert (await receive(ingest, head(STRANGER), reading(genuine))).status == 200
        assert not ingest._proven.holds(address)
        assert (await receive(ingest, head(STRANGER), reading(body()))).status == 200
        assert ingest._proven.holds(address)
        assert len(upstream.received) == 3
