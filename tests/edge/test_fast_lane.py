"""Both lanes decide alike: the same bytes have the same answers, rows and log lines in each."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from gzip import compress
from hashlib import sha256
from io import BytesIO
from ipaddress import ip_address
from random import Random
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.allowlist import Allowlist, Mode
from relay.allowlist.registry import Knock
from relay.core.clock import SystemClock
from relay.core.event import ProxyResponse, Rejected
from relay.core.request import Ack, VerifiedDelivery
from relay.core.secret import Secret
from relay.edge import fast_lane
from relay.edge.fast_lane import FastLane, is_health_check, read_head
from relay.edge.framing import MAX_FIELDS, MAX_LINE, Framing
from relay.ingest.authenticated_knock import AuthenticatedKnock
from relay.providers import EndpointOptions, RequestShape, SampleOrder
from relay.providers.builtin import provider_named
from relay.providers.inline import HeaderField
from relay.providers.inline.problems import problems
from relay.providers.inline.provider import InlineProvider
from relay.spool import Stored
from relay.telemetry.log import LogWriter
from tests.contracts.provider import keys_for
from tests.edge.lanes import MAX_BODY, HeldSpool, InstantSpool, Lane, Outcome, endpoint, settle
from tests.edge.smuggling import chunk, forms, joined
from tests.edge.test_framing import FORMS, PROPER
from tests.harness.clock import ManualClock
from tests.harness.edge import genuine, genuine_request
from tests.harness.wire import request
from tests.ingest.test_pipeline import HostOnOrder
from tests.providers.inline.describe import described
from tests.providers.test_providers_calls import calls
from tests.vectors.mutated import AT, message
from tests.vectors.mutated.senders import SENDERS

Pieces = list[tuple[bytes, int]]

PEERS = [ip_address(each) for each in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "203.0.113.9")]


@dataclass
class Lanes:
    """Both lanes, with clocks that stand still at the same time. taken: by the fast one."""

    fast: Lane
    slow: Lane

    async def compare(self, what: object, pieces: Pieces, *, peer: int = 0) -> Outcome:
        """Send the pieces over both; return what came of them, which is the same."""
        found = [await lane.send(pieces, PEERS[peer]) for lane in (self.fast, self.slow)]
        assert found[0] == found[1], f"{what}: {pieces!r}"
        return found[0]


@asynccontextmanager
async def both_lanes(*, fails: bool = False) -> AsyncIterator[Lanes]:
    lanes = [Lane(ManualClock(AT), fast_lane=fast, fails=fails) for fast in (True, False)]
    for each in lanes:
        await each.start()
    try:
        yield Lanes(*lanes)
    finally:
        for each in lanes:
            await each.stop()


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    async with both_lanes() as found:
        yield found


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return what the fast lane has taken."""
    found: list[bytes] = []
    take = FastLane.take

    def counted(lane: FastLane, connection: object, data: bytes) -> bool:
        took = take(lane, connection, data)  # type: ignore[arg-type] # as it came
        if took:
            found.append(data)
        return took

    monkeypatch.setattr(FastLane, "take", counted)
    return found


def cut(dice: Random, raw: bytes) -> Pieces:
    """Return the bytes in pieces, cut anywhere, mostly not at all."""
    if dice.random() < 0.5:
        return [(raw, dice.randrange(3))]
    found, at = [], 0
    while at < len(raw):
        size = dice.choice((1, 3, 50, 400, 5000))
        found.append((raw[at : at + size], dice.choice((0, 0, 1, 2, 40))))
        at += size
    return found


# ---- what is usual takes the fast lane ------------------------------------------------------


async def test_a_whole_plain_request_takes_the_fast_lane(lanes: Lanes, taken: list[bytes]) -> None:
    raw = genuine_request()
    outcome = await lanes.compare("usual", [(raw, 9), (raw, 9), (genuine_request(), 0)])
    assert len(taken) == 3
    assert [line["verdict"] for line in outcome.lines] == ["accepted", "duplicate", "accepted"]
    assert not outcome.closed


@pytest.mark.parametrize(
    "raw",
    [
        request("POST", "/other", body=b"x"),
        request("PUT", "/hook", body=b"x"),
        request("POST", "/hook", [("Content-Encoding", "gzip")], b"x"),
        request("POST", "/hook", [("Connection", "close")], b"{"),
        request("POST", "/hook", body=b"x" * (MAX_BODY + 1)),
        request("GET", "/hook?a=b"),
    ],
)
@pytest.mark.parametrize("peer", [0, 3])
async def test_a_refusal_of_ours_takes_the_fast_lane(
    raw: bytes, peer: int, lanes: Lanes, taken: list[bytes]
) -> None:
    outcome = await lanes.compare("refused", [(raw, 0)], peer=peer)
    assert taken == [raw]
    assert [line["verdict"] for line in outcome.lines] == ["refused"]
    # A stranger has no reason to stay.
    assert outcome.closed == (peer == 3 or b"Connection: close" in raw)
    assert (b"Connection: close\r\n" in outcome.answers) == outcome.closed


HEALTH = request("GET", "/healthz")
FORGED = request("POST", "/hook", body=b"{}")


async def test_gzip_is_undone_where_its_endpoint_takes_it(lanes: Lanes, taken: list[bytes]) -> None:
    for lane in (lanes.fast, lanes.slow):
        lane.serve([replace(endpoint(), gzip=True)])
    coding, body = [("Content-Encoding", "gzip")], genuine()
    packed = request("POST", "/hook", coding, compress(body))
    plain = request("POST", "/hook", body=body)
    outcome = await lanes.compare("gzip", [(packed, 9), (plain, 9)])
    assert [line["verdict"] for line in outcome.lines] == ["accepted", "duplicate"]
    assert {line["body_sha256"] for line in outcome.lines} == {sha256(body).hexdigest()}
    assert [len(each) for each in taken] == [len(plain)]
    for status, fields, sent in (
        (413, coding, compress(bytes(MAX_BODY + 1))),
        (413, coding, bytes(MAX_BODY + 1)),
        (400, coding, body),
        (400, coding, compress(body)[:-1]),
        (415, [("Content-Encoding", "gzip, gzip")], compress(compress(body))),
        (415, [("Content-Encoding", "deflate")], body),
    ):
        outcome = await lanes.compare("refused", [(request("POST", "/hook", fields, sent), 0)])
        assert [line["status"] for line in outcome.lines] == [status]


@pytest.mark.parametrize("proxied", [False, True])
async def test_head_is_answered_without_a_body_and_holds_no_event(
    proxied: bool, lanes: Lanes, taken: list[bytes]
) -> None:
    sender = InlineProvider(replace(described(), methods=("POST", "HEAD")))
    options = EndpointOptions(secrets=(Secret("key"),))
    served = replace(
        endpoint(sender.bind(options)),
        methods=sender.info.methods,
        challenges=sender.challenges(options),
        proxied=proxied,
    )
    for lane in (lanes.fast, lanes.slow):
        lane.serve([served])
    asked = [(request("HEAD", "/hook?a=1"), 9), (request("HEAD", "/hook"), 0)]
    outcome = await lanes.compare("HEAD", asked)
    assert [line["verdict"] for line in outcome.lines] == ["challenged", "challenged"]
    assert outcome.answers.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert outcome.answers.endswith(b"\r\n\r\n")
    assert taken == []
    # Whoever may not send is not answered so.
    outcome = await lanes.compare("stranger", [(request("HEAD", "/hook"), 0)], peer=3)
    assert [line["status"] for line in outcome.lines] == [403]


@pytest.mark.parametrize("raw", [HEALTH, FORGED, request("POST", "/other")])
async def test_who_is_listed_stays_and_a_stranger_does_not(lanes: Lanes, raw: bytes) -> None:
    for peer, stays in ((0, True), (3, False)):
        outcome = await lanes.compare("stays", [(raw, 9), (raw, 9)], peer=peer)
        assert outcome.closed is not stays
        assert outcome.answers.count(b"HTTP/1.1 ") == 1 + stays
        assert outcome.answers.count(b"Connection: close\r\n") == 1 - stays


async def test_a_stranger_whose_delivery_was_not_refused_stays(lanes: Lanes) -> None:
    for lane in (lanes.fast, lanes.slow):
        lane.serve([endpoint(mode=Mode.OFF)])
    pieces = [(raw, 9) for raw in (genuine_request(), FORGED, HEALTH, genuine_request())]
    outcome = await lanes.compare("earned", pieces, peer=3)
    assert outcome.answers.count(b"HTTP/1.1 200 OK") == 3
    assert outcome.answers.count(b"HTTP/1.1 401 ") == 1
    assert b"Connection: close" not in outcome.answers
    assert not outcome.closed


@pytest.mark.parametrize(
    "raw",
    [
        request("GET", "/healthz"),
        request("HEAD", "/hook"),
        request("POST", "/hook", [("Expect", "100-continue"), ("Content-Length", "1")], b"x"),
        request("POST", "/hook", [("Transfer-Encoding", "chunked")], chunk(b"{")),
        genuine_request() + b"\r\n",
        genuine_request() * 2,
        genuine_request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request("POST", "/hook", [("Connection", "close, x")], b"{"),
        request("POST", "/hook", [("X", "x")] * MAX_FIELDS, b"{"),
        request("POST", "/hook", [("X", "x" * 9000)], b"{"),
    ],
)
async def test_what_is_unusual_is_left_to_aiohttp(
    raw: bytes, lanes: Lanes, taken: list[bytes]
) -> None:
    await lanes.compare("unusual", [(raw, 0)])
    assert taken == []


async def test_a_client_that_needs_a_knock_is_left_to_aiohttp(taken: list[bytes]) -> None:
    async with both_lanes() as lanes:
        for lane in (lanes.fast, lanes.slow):
            host = HostOnOrder([], ["192.0.2.1"])
            knock = Knock([host], SystemClock().now() - SystemClock().now(), ManualClock(AT))
            lane.serve([endpoint(allowlist=Allowlist([host]), knock=knock)])
        outcome = await lanes.compare("knock", [(genuine_request(), 0)])
    assert taken == []
    assert [line["verdict"] for line in outcome.lines] == ["accepted"]


@pytest.mark.parametrize("found", [["203.0.113.0/24"], []])
@pytest.mark.parametrize("knocks", [False, True])
async def test_what_proves_itself_from_an_unknown_address_is_looked_up(
    found: list[str], knocks: bool, taken: list[bytes]
) -> None:
    forged = request("POST", "/hook", body=b"{}")
    expecting = request("POST", "/hook", [("Expect", "100-continue")], genuine())
    large = request("POST", "/hook", body=b" " * (MAX_BODY + 1))
    for raws in ([genuine_request()], [forged], [expecting], [large]):
        async with both_lanes() as lanes:
            for lane in (lanes.fast, lanes.slow):
                clock, host = ManualClock(AT), HostOnOrder([], [])
                proving = Knock([host], timedelta(seconds=1), clock)
                knock = Knock([host], timedelta(hours=1), clock)
                # Strangers have used it up.
                await knock.knock()
                host.next_look = found
                lane.serve(
                    [
                        endpoint(
                            allowlist=Allowlist([host]),
                            knock=knock if knocks else None,
                            authenticated_knock=AuthenticatedKnock(proving, clock),
                        )
                    ]
                )
            outcome = await lanes.compare("proves itself", [(raw, 9) for raw in raws], peer=3)
        is_proof = raws[0] not in (forged, expecting, large)
        statuses = [line["status"] for line in outcome.lines]
        assert statuses == [200 if is_proof and found else 403]
        assert outcome.closed == (statuses != [200])


@pytest.mark.parametrize("late", [False, True])
async def test_a_body_of_an_unknown_address_has_a_second(late: bool) -> None:
    raw = genuine_request()
    async with both_lanes() as lanes:
        answers = []
        for lane in (lanes.fast, lanes.slow):
            clock, host = ManualClock(AT), HostOnOrder([], ["203.0.113.0/24"])
            proving = Knock([host], timedelta(seconds=1), clock)
            proves = AuthenticatedKnock(proving, clock)
            lane.serve([endpoint(allowlist=Allowlist([host]), authenticated_knock=proves)])
            protocol, end = await lane.connect(PEERS[3])
            protocol.data_received(raw[:-9])
            await settle()
            assert end.written == b""
            await lane.pass_time(1.25 if late else 0.5)
            protocol.data_received(raw[-9:])
            await settle()
            answers.append(end.written[:12])
            protocol.connection_lost(None)
            await settle()
    assert answers == [b"HTTP/1.1 403" if late else b"HTTP/1.1 200"] * 2


@pytest.mark.parametrize("mode", Mode)
async def test_modes_of_the_allowlist_hold_in_both_lanes(mode: Mode, taken: list[bytes]) -> None:
    async with both_lanes() as lanes:
        for lane in (lanes.fast, lanes.slow):
            lane.serve([endpoint(mode=mode)])
        raw = genuine_request()
        outcome = await lanes.compare(mode, [(raw, 0)], peer=3)
    assert taken == [raw]
    assert len(outcome.rows) == (mode is not Mode.ENFORCE)


async def test_what_comes_while_a_request_is_under_way_is_answered_behind_it(
    lanes: Lanes, taken: list[bytes]
) -> None:
    first, second, third = (genuine_request() for _ in range(3))
    pieces = [(first, 0), (second[:50], 0), (second[50:], 0), (third, 0), (b"POST /h", 0)]
    outcome = await lanes.compare("pipelined", pieces)
    assert taken == [first]
    assert [line["verdict"] for line in outcome.lines] == ["accepted"] * 3
    assert not outcome.closed


async def test_a_mistake_of_ours_is_answered_alike(taken: list[bytes]) -> None:
    class Broken:
        signs_query = False

        def verify(self, *_: object) -> None:
            raise KeyError("canary")

        answer = proxied_answer = verify

    async with both_lanes() as lanes:
        for lane in (lanes.fast, lanes.slow):
            lane.serve([endpoint(Broken())])  # type: ignore[arg-type] # broken
        raw = genuine_request()
        outcome, other = [await each.send([(raw, 0)]) for each in (lanes.fast, lanes.slow)]
    assert taken == [raw]
    assert sorted(outcome.answers.split(b"\r\n")) == sorted(other.answers.split(b"\r\n"))
    assert outcome.answers.startswith(b"HTTP/1.1 502 ")
    assert outcome.closed
    assert other.closed
    assert outcome.lines == other.lines
    assert [line["event"] for line in outcome.lines] == ["delivery_fault", "edge_fault", "delivery"]


# ---- both lanes on everything ---------------------------------------------------------------


@pytest.mark.parametrize(
    "size",
    [None, 7, pytest.param(1, marks=pytest.mark.long), pytest.param(100, marks=pytest.mark.long)],
)
async def test_smuggling_forms_are_refused_alike(size: int | None, lanes: Lanes) -> None:
    usual = [b"Content-Type: application/json"]
    for name, raw in forms(b"/hook", usual, genuine(), genuine_request()).items():
        pieces = [raw] if size is None else [raw[i : i + size] for i in range(0, len(raw), size)]
        outcome = await lanes.compare(name, [(piece, 0) for piece in pieces])
        assert outcome.rows == [], name


async def test_proper_framing_is_taken_alike(lanes: Lanes) -> None:
    dice = Random("proper")
    for raw in PROPER:
        for _ in range(4):
            await lanes.compare("proper", cut(dice, raw + genuine_request()))


def _messages(dice: Random) -> Iterator[bytes]:
    """Yield messages, of which most are as they should be, without end."""
    body = genuine()
    usual = [b"Host: relay.test", b"Content-Type: application/json"]
    while True:
        kind = dice.random()
        if kind < 0.6:
            yield genuine_request()
        elif kind < 0.7:
            coding = b"Transfer-Encoding: chunked"
            yield joined(b"POST /hook HTTP/1.1", [*usual, coding], chunk(body))
        elif kind < 0.8:
            length = [b"Expect: 100-continue", b"Content-Length: %d" % len(body)]
            yield joined(b"POST /hook HTTP/1.1", [*usual, *length], body)
        elif kind < 0.9:
            target = dice.choice(("/hook", "/hook?", "//hook", "/hook/", "/", "/%2e", "/hook#"))
            yield request(dice.choice(("POST", "GET", "OPTIONS", "FOO")), target, body=body)
        else:
            yield _mutated(dice, genuine_request())


_PIECES = (
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"\xff", b"\x7f", b",", b";"),
    *(b"\r\nHost: a", b"\r\nContent-Length: 3", b"\r\nConnection: upgrade", b"\r\nTrailer: x"),
    *(b"\r\nConnection: close", b"\r\nConnection: keep-alive", b"\r\nX: \xe9 ", b"\r\n folded"),
    *(b"\r\nContent-Encoding: identity", b"\r\nContent-Encoding: br", b"\r\nUpgrade: x"),
    *(b"\r\nProxy-Connection: close", b"\r\nUser-Agent: a", b"\r\nContent-Type: x"),
    *(b"\r\nContent-Encoding: identity\xa0", b"\r\nSec-WebSocket-Key1: x", b"\r\nETag: x"),
)


def _mutated(dice: Random, raw: bytes) -> bytes:
    found = bytearray(raw)
    end = raw.find(b"\r\n\r\n") + 4
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(end if dice.random() < 0.8 else len(found))
        kind = dice.random()
        if kind < 0.3:
            found[at] = dice.choice(b"\r\n\t :,\x00\x7f\xff0aAZ;-")
        elif kind < 0.7:
            found[at:at] = dice.choice(_PIECES)
        else:
            del found[at]
    return bytes(found)


async def _compare_pipelines(seed: str, count: int) -> None:
    dice = Random(seed)
    messages = _messages(dice)
    async with both_lanes(fails=True) as lanes:
        for number in range(count):
            raw = b"".join(next(messages) for _ in range(dice.choice((1, 1, 1, 2, 3, 4))))
            await lanes.compare(number, cut(dice, raw), peer=dice.randrange(4))


async def _compare_mutated(start: int, count: int) -> None:
    """Send messages of every sender, as they are and mutated."""
    async with both_lanes(fails=True) as lanes:
        for number in range(start, start + count):
            for sender, writer in SENDERS.items():
                inspector, delivery = message(sender, writer, number)
                head = delivery.head
                path = head.path
                shapes: tuple[RequestShape, ...] = ()
                if delivery.remainder and path.endswith(delivery.remainder):
                    path = path.removesuffix(delivery.remainder)
                    shapes = (RequestShape(head.method, delivery.remainder),)
                bound = endpoint(inspector, path=path, shapes=shapes, methods=(head.method,))
                for lane in (lanes.fast, lanes.slow):
                    lane.serve([bound])
                raw = request(head.method, head.target, head.headers, delivery.body)
                await lanes.compare((sender, number), cut(Random(number), raw))


async def test_generated_pipelines_go_alike_through_both_lanes() -> None:
    await _compare_pipelines("short", 300)


async def test_mutated_messages_of_every_sender_go_alike_through_both_lanes() -> None:
    await _compare_mutated(0, 60)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
async def test_many_pipelines_go_alike_through_both_lanes(seed: int) -> None:
    await _compare_pipelines(f"long {seed}", 1500)


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, 5000, 500))
async def test_many_mutated_messages_go_alike_through_both_lanes(start: int) -> None:
    await _compare_mutated(start, 500)


# ---- the end of the stream and of the edge --------------------------------------------------


async def test_a_sender_in_a_hurry_is_answered_alike_but_for_the_close(lanes: Lanes) -> None:
    dice = Random("hurry")
    messages = _messages(dice)
    for _ in range(100):
        pieces = [(b"".join(next(messages) for _ in range(dice.choice((1, 1, 2)))), 0)]
        found = [await each.send(pieces, hurry=True) for each in (lanes.fast, lanes.slow)]
        for each in found:
            # An answer that was written before the end came could not tell that it would.
            each.answers = each.answers.replace(b"\r\nConnection: close", b"")
            each.closed = False
        assert found[0] == found[1], pieces


async def test_lines_of_strangers_have_no_end(lanes: Lanes) -> None:
    """What is held behind a request under way is bounded: the sender is made to wait."""
    pieces = [(genuine_request(), 0), *[(b"x" * 40_000, 0)] * 2]
    outcome = await lanes.compare("many", pieces)
    assert outcome.closed
    await asyncio.sleep(0)


# ---- what is under way ----------------------------------------------------------------------


@asynccontextmanager
async def held_lane() -> AsyncIterator[tuple[Lane, HeldSpool, ManualClock]]:
    clock, spool = ManualClock(AT), HeldSpool()
    lane = Lane(clock, spool=spool)
    await lane.start()
    yield lane, spool, clock
    await lane.stop()


async def test_what_is_not_stored_in_time_is_answered_by_the_sweep() -> None:
    async with held_lane() as (lane, spool, clock):
        protocol, end = await lane.connect()
        protocol.data_received(genuine_request())
        await clock.advance(3.25)
        assert end.written == b""
        await clock.advance(0.75)
        assert end.written.startswith(b"HTTP/1.1 502 ")
        assert spool.withdrawn == 1
        # It was stored all the same, a moment late: it has been answered.
        spool.held[0](Stored("evt_late"))
        [line] = lane.lines()
        assert (line["verdict"], line["detail"]) == (
            "unavailable",
            "no answer from the spool in time",
        )
        protocol.data_received(genuine_request())
        spool.held[1](Stored("evt_new"))
        assert end.written.count(b"HTTP/1.1 ") == 2
        assert not end.closed
        # The end of the stream leaves the deadline of what is under way in force.
        protocol.data_received(genuine_request())
        assert protocol.eof_received()
        await clock.advance(4)
        assert end.written.count(b"HTTP/1.1 ") == 3
        assert end.written.count(b"Connection: close") == 1
        assert end.closed


async def test_answers_of_one_iteration_are_written_together_at_its_end() -> None:
    async with held_lane() as (lane, spool, clock):
        connected = [await lane.connect() for _ in range(3)]
        for protocol, _ in connected:
            protocol.data_received(genuine_request())
        for stored in spool.held:
            stored(Stored("evt_new"))
        ends = [end for _, end in connected]
        assert [end.written for end in ends] == [b""] * 3
        # It has its answer already: neither a deadline nor what comes now gives it another one.
        connected[0][0].data_received(genuine_request())
        for protocol, _ in connected:
            protocol.expire(clock.monotonic() + 100)
        # One has gone meanwhile, and keeps no other from its answer.
        connected[1][0].connection_lost(None)
        await asyncio.sleep(0)
        assert [end.written.count(b"HTTP/1.1 200 OK") for end in ends] == [1, 0, 1]
        assert len(spool.held) == 4
        assert spool.withdrawn == 0


async def test_at_the_end_answers_that_wait_are_written() -> None:
    async with held_lane() as (lane, spool, _):
        connected = [await lane.connect() for _ in range(3)]
        for protocol, _ in connected:
            protocol.data_received(genuine_request())
        for stored in spool.held[:2]:
            stored(Stored("evt_new"))
        await lane.stop()
        assert [end.written.count(b"HTTP/1.1 200 OK") for _, end in connected] == [1, 1, 0]
        assert all(end.closed for _, end in connected)


async def test_an_answer_to_a_sender_that_has_gone_is_counted_all_the_same() -> None:
    async with held_lane() as (lane, spool, _):
        protocol, end = await lane.connect()
        protocol.data_received(genuine_request())
        end.close()
        await asyncio.sleep(0)
        spool.held[0](Stored("evt_new"))
        assert end.written == b""
        assert [line["verdict"] for line in lane.lines()] == ["accepted"]


async def test_at_the_end_what_is_under_way_is_answered_and_closes() -> None:
    async with held_lane() as (lane, spool, _):
        protocol, end = await lane.connect()
        protocol.data_received(genuine_request())
        stopping = asyncio.ensure_future(lane.stop(timedelta(seconds=20)))
        while not protocol._stopping:  # noqa: ASYNC110 - aiohttp has no event for it
            await asyncio.sleep(0.01)
        spool.held[0](Stored("evt_new"))
        assert b"Connection: close" in end.written
        async with asyncio.timeout(10):
            await stopping
        assert end.closed


async def test_at_the_end_nothing_waits_for_a_spool_without_an_answer() -> None:
    async with held_lane() as (lane, _, _):
        protocol, end = await lane.connect()
        protocol.data_received(genuine_request())
        async with asyncio.timeout(10):
            await lane.stop()
        assert end.written == b""
        assert end.closed
        assert lane.lines() == []


async def test_a_proxied_delivery_is_answered_when_its_upstream_has_answered(
    taken: list[bytes],
) -> None:
    waiting: list[Callable[[ProxyResponse], None]] = []
    cancelled: list[str] = []

    def forward(
        delivery: VerifiedDelivery, done: Callable[[ProxyResponse], None]
    ) -> Callable[[], None]:
        waiting.append(done)
        return lambda: cancelled.append(delivery.event_id)

    lane = Lane(ManualClock(AT), forward=forward)
    await lane.start()
    lane.serve([endpoint(proxied=True)])
    protocol, end = await lane.connect()
    for answer in (
        ProxyResponse(Rejected(422), Ack(422, b"no", "text/plain")),
        ProxyResponse(Rejected(500)),
    ):
        protocol.data_received(genuine_request())
        waiting.pop()(answer)
    protocol.data_received(genuine_request())
    await lane.stop()
    assert len(taken) == 3
    answers = [each.split(b" ", 2)[1] for each in end.written.split(b"HTTP/1.1")[1:]]
    assert answers == [b"422", b"502"]
    assert [line["verdict"] for line in lane.lines()] == ["passed", "unavailable"]
    assert cancelled == ["evt_new"]


@pytest.mark.parametrize("fast", [True, False])
async def test_a_log_line_that_waits_keeps_no_answer_of_an_upstream(fast: bool) -> None:
    class Answer(Ack):
        """One that can be referred to weakly."""

    class Waiting(LogWriter):
        def __init__(self) -> None:
            self.lines: list[object] = []

        def write(self, line: object) -> None:
            self.lines.append(line)

    known: list[ref[Answer]] = []

    def forward(_: VerifiedDelivery, done: Callable[[ProxyResponse], None]) -> Callable[[], None]:
        answer = Answer(422, b"no", "text/plain")
        known.append(ref(answer))
        response = ProxyResponse(Rejected(422), answer)
        return asyncio.get_running_loop().call_soon(done, response).cancel

    writer = Waiting()
    lane = Lane(ManualClock(AT), fast_lane=fast, forward=forward, writer=writer)
    await lane.start()
    lane.serve([endpoint(proxied=True)])
    protocol, end = await lane.connect()
    protocol.data_received(genuine_request())
    for _ in range(20):
        await asyncio.sleep(0)
    await lane.stop()
    assert b"422" in end.written
    assert len(writer.lines) == 1
    gc.collect()
    assert [each() for each in known] == [None]


# ---- what a delivery costs ------------------------------------------------------------------

#: Function calls of an accepted delivery in the fast lane, its spool answering at once: of Python,
#: and of C.
MAX_CALLS = {"midtrans": (40, 63), "midtrans-snap": (68, 106), "vipps": (59, 103)}


@pytest.mark.parametrize("sender", MAX_CALLS)
async def test_a_delivery_in_the_fast_lane_takes_few_calls(
    sender: str, taken: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lines are rendered in its thread.
    writer = LogWriter(BytesIO())
    lane = Lane(SystemClock(), spool=InstantSpool(), writer=writer)
    await lane.start()
    provider = provider_named(sender)
    keys = keys_for(provider)[0]
    inspector = provider.bind(EndpointOptions((keys.verifying,)))
    lane.serve([endpoint(inspector, provider=sender, shapes=provider.info.shapes)])
    protocol, end = await lane.connect()

    def raw() -> bytes:
        url = "https://pay.example.com/hook"
        sample = provider.sample(SampleOrder(url, keys.signing, SystemClock().now()))
        usual = {"Host": "pay.example.com", "User-Agent": "Veritrans", "Accept": "*/*"}
        fields = usual | dict(sample.headers)
        return request("POST", "/hook" + sample.suffix, fields.items(), sample.body)

    raws = [raw() for _ in range(7)]
    for each in raws[:2]:
        protocol.data_received(each)
    assert len(taken) == 2
    # Counting is no part of it.
    monkeypatch.undo()
    # Several: a new second is spelled once, and a sleeping log is woken once.
    counts = [calls(partial(protocol.data_received, each)) for each in raws[2:]]
    python, builtin = (min(each) for each in zip(*counts, strict=True))
    assert end.written.count(b"HTTP/1.1 200 OK") == 7
    await lane.stop()
    writer.close()
    assert python <= MAX_CALLS[sender][0]
    assert builtin <= MAX_CALLS[sender][1]


# ---- request heads --------------------------------------------------------------------------


START = b"POST /hook?a=b HTTP/1.1"


def lines(*fields: bytes, start: bytes = START) -> bytes:
    return b"\r\n".join([start, b"Host: relay.test", *fields])


def test_a_plain_head_is_read() -> None:
    head = read_head(
        lines(b"Content-Length: 7", b"X-Odd: \t\xe9 \t", b"x-odd:2", b"Connection: Close")
    )
    assert head is not None
    assert (head.method, head.target, head.length, head.keep) == ("POST", "/hook?a=b", 7, False)
    assert list(head.headers) == [
        ("Host", "relay.test"),
        ("Content-Length", "7"),
        ("X-Odd", "\xe9"),
        ("x-odd", "2"),
        ("Connection", "Close"),
    ]
    assert not head.encoded


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(b"identity", False), (b"Identity , identity", False), (b"gzip", True), (b"", True)],
)
def test_a_named_coding_is_noted(value: bytes, encoded: bool) -> None:
    head = read_head(lines(b"Content-Encoding: " + value))
    assert head is not None
    assert head.encoded is encoded


@pytest.mark.parametrize(
    "raw",
    [
        lines(start=b"POST /hook HTTP/1.0"),
        lines(start=b"HEAD /hook HTTP/1.1"),
        lines(start=b"POST /hook# HTTP/1.1"),
        lines(start=b"POST hook HTTP/1.1"),
        lines(start=b"post /hook HTTP/1.1"),
        START,
        lines(b"Host: other"),
        lines(b"Content-Length: 1", b"Content-Length: 1"),
        lines(b"Content-Length: +1"),
        lines(b"Content-Length: "),
        lines(b"Connection: upgrade"),
        lines(b"Connection: close", b"Connection: keep-alive"),
        lines(b"Proxy-Connection: close"),
        lines(b"Content-Type: a", b"content-type: a"),
        lines(b"Expect: 100-continue"),
        lines(b"Transfer-Encoding: chunked"),
        lines(b"Trailer: x"),
        lines(b"Content-Encoding: identity\xa0"),
        lines(b" folded: x"),
        lines(b"X : x"),
        lines(b"X: a\x00b"),
        lines(b"X: a\nb"),
        lines(b""),
        lines(*[b"X: x"] * MAX_FIELDS),
        lines(b"X: " + b"x" * MAX_LINE),
    ],
)
def test_what_is_not_plain_is_not_read(raw: bytes) -> None:
    assert read_head(raw) is None


@pytest.mark.parametrize("raw", [*PROPER, *FORMS.values()])
def test_what_is_read_passes_the_framing(raw: bytes) -> None:
    _agrees(raw.partition(b"\r\n\r\n")[0])


@given(st.data())
def test_what_is_read_passes_the_framing_however_it_is_changed(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(PROPER)).partition(b"\r\n\r\n")[0])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"\r\n", b"\n", b" ", b"\r\nHost: a", b"\x00", b":", b"\r\nX: 1"])
        )
    _agrees(bytes(raw))


def _agrees(raw: bytes) -> None:
    head = read_head(raw)
    if head is None or b"\r\n\r\n" in raw:
        return
    framing = Framing()
    framing.feed(raw + b"\r\n\r\n" + bytes(min(head.length, 1000)))
    assert framing.problem is None
    assert framing.heads >= 1
    assert framing.in_body == (head.length > 1000)


def test_what_may_be_a_proof_is_not_remembered() -> None:
    proofs = [b"Authorization: c", b"Cookie: c", b"X-Signature: c", b"X-Anything: c"]
    assert read_head(lines(*proofs, start=b"POST /hook?token=c HTTP/1.1")) is not None
    assert not [each for each in fast_lane._lines if each in proofs]
    assert not [each for each in fast_lane._starts if b"token" in each]
    assert b"Host: relay.test" in fast_lane._lines
    assert not [each for each in fast_lane._heads if b": c\r" in each + b"\r" or b"token" in each]


@pytest.mark.parametrize("name", sorted(fast_lane._REMEMBERED))
def test_no_token_may_stand_in_a_field_that_is_remembered(name: str) -> None:
    sender = described(scheme="token", source=HeaderField(name))
    assert [key for key, _ in problems(sender) if key == ("signature", "from")]


def test_a_head_without_a_proof_is_read_once() -> None:
    raw = lines(b"Content-Length: 7", start=b"POST /hook HTTP/1.1")
    read = read_head(raw)
    assert read_head(bytes(raw)) is read
    # With another line it is another head.
    assert read_head(raw + b"\r\nX-Anything: c") != read


def test_the_memory_of_lines_has_an_end() -> None:
    for number in range(fast_lane._MAX_LINES + 9):
        assert read_head(lines(b"User-Agent: %d" % number)) is not None
        assert read_head(lines(start=b"POST /%d HTTP/1.1" % number)) is not None
    assert len(fast_lane._lines) <= fast_lane._MAX_LINES
    assert len(fast_lane._starts) <= fast_lane._MAX_LINES
    assert read_head(lines(b"Via: " + b"x" * 200)) is not None
    assert all(len(each) <= fast_lane._MAX_REMEMBERED for each in fast_lane._lines)
    for number in range(fast_lane._MAX_HEADS + 9):
        assert read_head(lines(b"Content-Length: %d" % number, start=b"POST / HTTP/1.1"))
    assert len(fast_lane._heads) <= fast_lane._MAX_HEADS
    long = [b"Accept: %s" % (b"x" * 100)] * 11
    assert read_head(lines(*long, start=b"POST / HTTP/1.1")) is not None
    assert all(len(each) <= fast_lane._MAX_HEAD for each in fast_lane._heads)


def test_a_health_check_is_known_by_its_target() -> None:
    assert is_health_check("GET", "/healthz")
    assert is_health_check("HEAD", "/healthz")
    assert not is_health_check("POST", "/healthz")
    assert not is_health_check("GET", "/healthz?")
