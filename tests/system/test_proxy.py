"""Proxy mode, from a socket to a socket: a sender gets the upstream's answer, or a patient one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from relay.core.clock import SystemClock
from relay.spool.history import Query, Record
from relay.spool.sqlite import open_spool
from tests.harness.deliveries import (
    BEARER,
    ENVIRON,
    MIDTRANS,
    STRANGER,
    configuration,
    midtrans_body,
    midtrans_request,
    vipps_request,
)
from tests.harness.node import Node
from tests.harness.upstream import (
    Behaviour,
    Upstream,
    answer,
    close,
    hang,
    repeat,
    reset,
    send,
    when,
)
from tests.harness.wire import Reply, exchange, request

JSON = ("Content-Type", "application/json")


@dataclass(frozen=True)
class Case:
    """What an upstream does, what its sender sees, and what history says."""

    behaviour: Behaviour
    status: int
    outcome: str
    body: bytes = b""
    content_type: str | None = None


CASES = {
    "json": Case(answer(200, [JSON], b'{"ok": 1}'), 200, "delivered 200", b'{"ok": 1}', JSON[1]),
    "other headers": Case(
        answer(201, [JSON, ("Set-Cookie", "a=b"), ("X-Powered-By", "x")], b"{}"),
        201,
        "delivered 201",
        b"{}",
        JSON[1],
    ),
    "empty": Case(answer(204), 204, "delivered 204"),
    "unknown order": Case(
        answer(404, [("Content-Type", "text/plain")], b"no such order"),
        404,
        "rejected 404",
        b"no such order",
        "text/plain",
    ),
    "not for us": Case(answer(401), 401, "rejected 401"),
    "forbidden": Case(answer(403), 403, "rejected 403"),
    "redirect": Case(answer(302, [("Location", "/elsewhere"), JSON], b"{}"), 502, "rejected 302"),
    "permanent redirect": Case(answer(308, [("Location", "/elsewhere")]), 502, "rejected 308"),
    "failure": Case(answer(500, [JSON], b"Traceback"), 502, "rejected 500"),
    "busy": Case(answer(503, [("Retry-After", "9")]), 502, "rejected 503"),
    "hangs": Case(hang, 502, "unreachable timeout"),
    "hangs in the body": Case(
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome", hang), 502, "unreachable timeout"
    ),
    "drips": Case(
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", repeat(b"x", 0.05)),
        502,
        "unreachable timeout",
    ),
    "resets": Case(reset, 502, "unreachable reset"),
    "closes": Case(close, 502, "unreachable closed"),
    "closes in the body": Case(
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome", close), 502, "unreachable closed"
    ),
    "garbage": Case(send(b"\x16\x03\x01 garbage\r\n\r\n", close), 502, "unreachable malformed"),
    "too long": Case(answer(200, [JSON], b" " * 100_000), 502, "unreachable oversized"),
    "endless": Case(
        send(b"HTTP/1.1 200 OK\r\n\r\n", repeat(bytes(60_000), 0)), 502, "unreachable oversized"
    ),
}


@pytest.fixture
def proxied(tmp_path: Path, upstream: Upstream) -> Path:
    path = tmp_path / "relay.yaml"
    text = configuration(upstream.url).replace("timeout: 2s", "timeout: 400ms")
    path.write_text(text.replace("    upstream: billing", "    upstream: billing\n    mode: proxy"))
    return path


@asynccontextmanager
async def history(config: Path) -> AsyncIterator[list[Record]]:
    """Give what a relay that has ended left behind, the oldest first."""
    spool = await open_spool(config.parent / "relay.db", SystemClock())
    try:
        yield list((await spool.page(Query(limit=1000))).records)[::-1]
    finally:
        await spool.close()


async def listening_ends(node: Node) -> None:
    """Return when a new connection is refused."""
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            while True:
                _, writer = await asyncio.open_connection(*node.public[0])
                writer.close()


def midtrans() -> bytes:
    return midtrans_request(midtrans_body())


def vipps() -> bytes:
    return vipps_request()[0]


def seen(reply: Reply) -> tuple[int, bytes, str | None]:
    return reply.status, reply.body, reply.value("Content-Type")


@pytest.mark.parametrize("message", [midtrans, vipps])
async def test_the_sender_sees_what_it_may_and_history_tells_the_rest(
    message: Callable[[], bytes], proxied: Path, upstream: Upstream
) -> None:
    async with Node(proxied, ENVIRON) as node:
        for name, case in CASES.items():
            upstream.behave(case.behaviour)
            reply = await exchange(node.public[0], message())
            if case.status == 502:
                assert (name, reply.status, reply.body) == (name, 502, b"")
            else:
                expected = (case.status, case.body, case.content_type)
                assert (name, *seen(reply)) == (name, *expected)
            for dropped in ("Set-Cookie", "X-Powered-By", "Location", "Retry-After"):
                assert (name, reply.value(dropped)) == (name, None)
        assert await node.end() == 0
    assert len(upstream.received) == len(CASES)
    assert {each.values("Relay-Attempt")[0] for each in upstream.received} == {"1"}
    lines = node.having(event="delivery")
    verdicts = ["unavailable" if case.status == 502 else "passed" for case in CASES.values()]
    assert [line["verdict"] for line in lines] == verdicts
    assert len(node.having(event="attempt", decision="passed")) == len(CASES)
    async with history(proxied) as records:
        told = dict(zip(CASES, [record.last_outcome for record in records], strict=True))
        assert told == {name: case.outcome for name, case in CASES.items()}
        assert {record.status for record in records} == {"passed"}
        ids = [record.id for record in records]
    assert ids == [line["id"] for line in lines]
    assert ids == [each.values("webhook-id")[0] for each in upstream.received]


async def test_what_is_passed_on_is_what_was_received(proxied: Path, upstream: Upstream) -> None:
    raw, vipps_body = vipps_request()
    body = midtrans_body()
    async with Node(proxied, ENVIRON) as node:
        await exchange(node.public[0], raw)
        await exchange(node.public[0], midtrans_request(body))
        assert await node.end() == 0
    assert [each.body for each in upstream.received] == [vipps_body, body]
    assert upstream.received[0].values("Relay-Signed") == ["body"]
    assert upstream.received[1].values("Relay-Client-Address") == [MIDTRANS]
    assert upstream.received[1].values("X-Forwarded-For") == []
    spool = await open_spool(proxied.parent / "relay.db", SystemClock())
    found = await spool.get(upstream.received[1].values("webhook-id")[0])
    await spool.close()
    assert found is not None
    assert found[1] is not None
    assert found[1].body == body


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(midtrans_request(midtrans_body(), STRANGER), 403, id="stranger"),
        pytest.param(
            midtrans_request(midtrans_body().replace(b'"gross_amount": "', b'"gross_amount": "9')),
            401,
            id="forged",
        ),
        pytest.param(midtrans_request(b"{"), 400, id="malformed"),
        pytest.param(midtrans_request(b" " * 70_000), 413, id="too large"),
        pytest.param(request("GET", "/midtrans/notification"), 405, id="GET"),
    ],
)
async def test_what_must_not_get_in_never_reaches_the_upstream(
    raw: bytes, status: int, proxied: Path, upstream: Upstream
) -> None:
    async with Node(proxied, ENVIRON) as node:
        assert (await exchange(node.public[0], raw)).status == status
        assert await node.end() == 0
    assert upstream.connections == 0
    async with history(proxied) as records:
        assert records == []


async def test_copies_are_each_passed_on_and_each_recorded(
    proxied: Path, upstream: Upstream
) -> None:
    raw = midtrans()
    async with Node(proxied, ENVIRON) as node:
        replies = await asyncio.gather(*(exchange(node.public[0], raw) for _ in range(20)))
        assert await node.end() == 0
    assert [reply.status for reply in replies] == [200] * 20
    assert len(upstream.received) == 20
    async with history(proxied) as records:
        assert len(records) == 20
        assert len({record.key for record in records}) == 1


async def test_the_receiving_half_passes_on_alone(proxied: Path, upstream: Upstream) -> None:
    upstream.behave(answer(200, [JSON], b"{}"))
    async with Node(proxied, ENVIRON, role="edge") as node:
        assert (await exchange(node.public[0], midtrans())).body == b"{}"
        assert await node.end() == 0


async def test_what_is_in_hand_at_the_end_is_finished_and_recorded(
    proxied: Path, upstream: Upstream
) -> None:
    proxied.write_text(proxied.read_text().replace("timeout: 400ms", "timeout: 10s"))
    release = asyncio.Event()
    upstream.behave(when(release, answer(200)))
    async with Node(proxied, ENVIRON) as node:
        waiting = asyncio.ensure_future(exchange(node.public[0], midtrans()))
        await upstream.has_received(1)
        ending = asyncio.ensure_future(node.end())
        await listening_ends(node)
        release.set()
        assert await ending == 0
        assert (await waiting).status == 200
    async with history(proxied) as records:
        assert [record.last_outcome for record in records] == ["delivered 200"]


async def test_what_does_not_end_in_time_is_cut_and_recorded(
    proxied: Path, upstream: Upstream
) -> None:
    text = proxied.read_text().replace("timeout: 400ms", "timeout: 10s")
    proxied.write_text(text.replace("shutdown_grace: 5s", "shutdown_grace: 200ms"))
    upstream.behave(hang)
    async with Node(proxied, ENVIRON) as node:
        waiting = asyncio.ensure_future(exchange(node.public[0], midtrans()))
        await upstream.has_received(1)
        assert await node.end() == 0
        # A closed connection: Midtrans and Vipps come again.
        assert (await waiting).status == 0
    async with history(proxied) as records:
        assert [record.last_outcome for record in records] == ["unreachable shutdown"]


async def test_an_operator_sees_what_was_passed_on_and_cannot_requeue_it(
    proxied: Path, upstream: Upstream
) -> None:
    upstream.behave(answer(404))
    async with Node(proxied, ENVIRON) as node:
        await exchange(node.public[0], midtrans())
        async with asyncio.timeout(10):
            events: list[dict[str, str]] = []
            while not events:
                listing = request("GET", "/api/v1/events?status=passed", [BEARER])
                events = orjson.loads((await exchange(node.admin, listing)).body)["events"]
        path = f"/api/v1/events/{events[0]['id']}"
        detail = orjson.loads((await exchange(node.admin, request("GET", path, [BEARER]))).body)
        assert (detail["status"], detail["last_outcome"]) == ("passed", "rejected 404")
        assert (
            await exchange(node.admin, request("POST", f"{path}/requeue", [BEARER]))
        ).status > 399
        metrics = (await exchange(node.admin, request("GET", "/metrics"))).body.decode()
        await node.end()
    assert 'relay_attempts_total{outcome="rejected",upstream="billing"} 1.0' in metrics
    labels = 'endpoint="midtrans",provider="midtrans",verdict="passed"'
    assert f"relay_deliveries_total{{{labels}}} 1.0" in metrics
    assert 'relay_spool_events{endpoint="midtrans",status="passed"} 1.0' in metrics
    assert 'relay_history_lost_total{endpoint="midtrans"} 0.0' in metrics
    assert len(upstream.received) == 1
