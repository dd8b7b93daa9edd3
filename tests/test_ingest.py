"""A delivery is answered once, stored before it is acknowledged, and accounted for."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest
from netaddr import IPNetwork

from relay.clientip import ClientLocator, ForwardedHeader
from relay.clock import SystemClock
from relay.errors import Reason, Refusal
from relay.gauges import Snapshot
from relay.ids import event_ids
from relay.ingest import Endpoint, Ingest
from relay.logs import Log, LogWriter
from relay.model import Ack, Delivery, Evidence, Headers, RequestHead, Ruling
from relay.plugins import load
from relay.providers import Asked, Provider, SampleOrder, Terms
from relay.routing import Routes
from relay.secret import Secret
from relay.sources import AddressSource, Allowlist, Entry, Mode, SourceStatus
from relay.sources.cidr import ListedNetworks
from relay.sources.knock import Knock
from relay.spool import Query, Spool, SpoolBroken
from relay.spool.sqlite import open_spool
from relay.telemetry import Telemetry

MIDTRANS: Provider = load("providers", "midtrans").PROVIDER
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
            upstream="billing",
            inspector=MIDTRANS.bind(Terms(secrets=(SECRET,))),
            headers=(),
            allowlist=Allowlist(sources or [ListedNetworks("midtrans", [(LISTED, "test")])]),
            mode=mode,
            knock=None,
        )

    def ingest(self, endpoint: Endpoint, answer_within: float = 5.0) -> Ingest:
        return Ingest(
            routes=Routes([endpoint]),
            clients=ClientLocator([], ForwardedHeader.X_FORWARDED_FOR),
            spool=self.spool,
            telemetry=self.telemetry,
            clock=SystemClock(),
            new_id=event_ids(SystemClock()),
            answer_within=timedelta(seconds=answer_within),
            give_up=self.gave_up.append,
        )

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
    ack = await bench.ingest(bench.endpoint()).receive(head(), reading(body()))
    assert ack.status == 200
    (record,) = (await bench.spool.page(Query())).records
    assert record.client == LISTED
    (line,) = bench.lines()
    assert (line["verdict"], line["id"], line["status"]) == ("accepted", record.id, 200)


async def test_only_harmless_headers_are_kept(bench: Bench) -> None:
    await bench.ingest(bench.endpoint()).receive(head(), reading(body()))
    (record,) = (await bench.spool.page(Query())).records
    found = await bench.spool.get(record.id)
    assert found is not None
    assert found[1] is not None
    assert [name for name, _ in found[1].headers] == ["Content-Type", "Accept"]


async def test_a_stranger_is_refused_before_the_body_is_read(bench: Bench) -> None:
    ack = await bench.ingest(bench.endpoint()).receive(head(STRANGER), unread)
    assert ack.status == 403
    (line,) = bench.lines()
    assert (line["verdict"], line["reason"]) == ("refused", "source_not_allowed")


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        (head(method="PUT"), 405, "method_not_allowed"),
        (head(target="/other"), 404, "unknown_endpoint"),
    ],
)
async def test_what_is_not_ours_is_refused_unread(
    asked: RequestHead, status: int, reason: str, bench: Bench
) -> None:
    ack = await bench.ingest(bench.endpoint()).receive(asked, unread)
    assert ack.status == status
    assert bench.lines()[0]["reason"] == reason


async def test_report_admits_and_says_what_enforcing_would_refuse(bench: Bench) -> None:
    ingest = bench.ingest(bench.endpoint(mode=Mode.REPORT))
    assert (await ingest.receive(head(STRANGER), reading(body()))).status == 200
    (line,) = bench.lines()
    assert (line["verdict"], line["would_refuse"]) == ("accepted", "source_not_allowed")


async def test_off_does_not_ask_who_is_calling(bench: Bench) -> None:
    ingest = bench.ingest(bench.endpoint(mode=Mode.OFF))
    assert (await ingest.receive(head(STRANGER), reading(body()))).status == 200
    assert "would_refuse" not in bench.lines()[0]


async def test_a_source_that_knows_nothing_yet_has_its_own_reason(bench: Bench) -> None:
    ingest = bench.ingest(bench.endpoint(HostOnOrder()))
    assert (await ingest.receive(head(), unread)).status == 403
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
    assert (await ingest.receive(head(), reading(body()))).status == status
    text = bench.telemetry.expose(Snapshot()).decode()
    assert f'allowlist_knocks_total{{endpoint="midtrans",result="{result}"}} 1.0' in text


async def test_a_body_that_may_not_be_had_is_a_refusal(bench: Bench) -> None:
    async def slow() -> bytes:
        raise Refusal(Reason.BODY_TIMEOUT)

    assert (await bench.ingest(bench.endpoint()).receive(head(), slow)).status == 408


async def test_a_spool_that_does_not_answer_in_time_is_no_success(
    bench: Bench, tmp_path: Path
) -> None:
    with closing(apsw.Connection(str(tmp_path / "relay.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        ingest = bench.ingest(bench.endpoint(), answer_within=0.1)
        ack = await ingest.receive(head(), reading(body()))
        other.execute("ROLLBACK")
    assert ack.status == 502
    (line,) = bench.lines()
    assert (line["verdict"], line["level"]) == ("unavailable", "error")


class Exploding:
    """An inspector with a mistake in it."""

    def inspect(self, delivery: Delivery) -> Evidence:
        raise KeyError(delivery.endpoint)

    def answer(self, ruling: Ruling, asked: Asked) -> Ack:
        return MIDTRANS.bind(Terms(secrets=(SECRET,))).answer(ruling, asked)

    def passed(self, answered: Ack, asked: Asked) -> Ack:
        return answered


async def test_our_own_mistake_asks_the_provider_to_come_again(bench: Bench) -> None:
    endpoint = replace(bench.endpoint(), inspector=Exploding())
    ack = await bench.ingest(endpoint).receive(head(), reading(body()))
    assert ack.status == 502
    assert [line["event"] for line in bench.lines()] == ["delivery_fault", "delivery"]


async def test_a_spool_that_cannot_be_trusted_ends_the_process(bench: Bench) -> None:
    class Broken(Exploding):
        def inspect(self, delivery: Delivery) -> Evidence:
            raise SpoolBroken("disk I/O error")

    endpoint = replace(bench.endpoint(), inspector=Broken())
    ack = await bench.ingest(endpoint).receive(head(), reading(body()))
    assert ack.status == 502
    assert len(bench.gave_up) == 1
