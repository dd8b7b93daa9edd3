"""The main job, from a socket to a socket, through `relay run` as an operator starts it."""

import asyncio
import hashlib
import signal
from pathlib import Path

import orjson
import pytest

from tests.harness.deliveries import (
    ENVIRON,
    MIDTRANS,
    STRANGER,
    midtrans_body,
    midtrans_request,
    vector,
    vipps_request,
)
from tests.harness.node import Node
from tests.harness.ports import free_port
from tests.harness.upstream import Upstream, answer, reset
from tests.harness.wire import exchange, request


async def test_genuine_messages_arrive_byte_for_byte(config: Path, upstream: Upstream) -> None:
    midtrans = vector("midtrans", "midtrans-akulaku-settlement")["body"].encode()
    vipps, vipps_body = vipps_request()
    async with Node(config, ENVIRON) as node:
        first = await exchange(node.public[0], midtrans_request(midtrans))
        second = await exchange(node.public[0], vipps)
        await upstream.has_received(2)
    assert (first.status, first.body) == (200, b"OK")
    assert second.status == 200
    arrived = {each.values("Relay-Provider")[0]: each for each in upstream.received}
    assert arrived["midtrans"].body == midtrans
    assert arrived["vipps"].body == vipps_body
    told = {name: arrived["midtrans"].values(name) for name in ("Relay-Endpoint", "Relay-Attempt")}
    assert told == {"Relay-Endpoint": ["midtrans"], "Relay-Attempt": ["1"]}
    # Digits at the end of the order id could as well belong to the status code.
    assert arrived["midtrans"].values("Relay-Signed") == [
        "order_id, status_code, gross_amount, ambiguous"
    ]
    assert arrived["midtrans"].values("Relay-Client-Address") == [MIDTRANS]
    assert arrived["midtrans"].values("User-Agent") == ["Veritrans"]
    assert arrived["midtrans"].values("X-Forwarded-For") == []
    assert arrived["vipps"].values("Relay-Signed") == ["body"]


SUBSCRIPTIONS = """\
  - name: subscriptions
    path: /midtrans/subscriptions
    provider: midtrans
    environment: sandbox
    secrets: []
    unsigned: accept
    upstream: billing
"""


async def test_a_message_about_a_subscription_has_an_endpoint_of_its_own(
    config: Path, upstream: Upstream
) -> None:
    config.write_text(config.read_text() + SUBSCRIPTIONS)
    body = b'{"id": "d98a63b8", "schedule": {"interval": 1}, "status": "active"}'
    signed = midtrans_request(body)
    own = signed.replace(b"/midtrans/notification", b"/midtrans/subscriptions")
    strange = midtrans_request(body, STRANGER)
    strange = strange.replace(b"/midtrans/notification", b"/midtrans/subscriptions")
    async with Node(config, ENVIRON) as node:
        statuses = [(await exchange(node.public[0], raw)).status for raw in (signed, own, strange)]
        refused = await node.wait_for(event="delivery", reason="signature_missing")
        await upstream.has_received(1)
    assert statuses == [401, 200, 403]
    assert refused["detail"].endswith("give them an unsigned endpoint")
    assert upstream.received[0].body == body


async def test_twenty_copies_at_once_are_one_event(config: Path, upstream: Upstream) -> None:
    raw = midtrans_request(midtrans_body())
    async with Node(config, ENVIRON) as node:
        replies = await asyncio.gather(*(exchange(node.public[0], raw) for _ in range(20)))
        await upstream.has_received(1)
        await node.wait_for(20, event="delivery", status=200)
        assert len(node.having(event="delivery", verdict="accepted")) == 1
        assert len(node.having(event="delivery", verdict="duplicate")) == 19
        assert len({line["id"] for line in node.having(event="delivery")}) == 1
        assert await node.end() == 0
    assert [reply.status for reply in replies] == [200] * 20
    assert len(upstream.received) == 1


async def test_two_partial_refunds_are_two_deliveries(config: Path, upstream: Upstream) -> None:
    payment = {"order_id": "order-7", "transaction_id": "1c28dbbb-8596-48e4-85d7-9f1382db8a1f"}
    refunds = [_refunded(payment, amount) for amount in ("1000.00", "2500.00")]
    async with Node(config, ENVIRON) as node:
        for body in (*refunds, refunds[0]):
            reply = await exchange(node.public[0], midtrans_request(body))
            assert reply.status == 200
        await upstream.has_received(2)
        assert await node.end() == 0
    assert sorted(each.body for each in upstream.received) == sorted(refunds)


def _refunded(payment: dict[str, str], amount: str) -> bytes:
    body = orjson.loads(midtrans_body(**payment, transaction_status="partial_refund"))
    return orjson.dumps({**body, "refund_amount": amount})


@pytest.mark.parametrize(
    ("raw", "status", "reason"),
    [
        pytest.param(
            midtrans_request(midtrans_body(), STRANGER), 403, "source_not_allowed", id="stranger"
        ),
        pytest.param(
            midtrans_request(midtrans_body().replace(b'"gross_amount": "', b'"gross_amount": "9')),
            401,
            "signature_mismatch",
            id="forged",
        ),
        pytest.param(
            midtrans_request(midtrans_body().replace(b"signature_key", b"no_signature")),
            401,
            "signature_missing",
            id="unsigned",
        ),
        pytest.param(
            midtrans_request(b"{"), 400, "body_malformed", id="malformed", marks=pytest.mark.proof
        ),
        pytest.param(
            midtrans_request(b" " * 70_000),
            413,
            "body_too_large",
            id="announced too large",
            marks=pytest.mark.proof,
        ),
        pytest.param(
            request(
                "POST",
                "/midtrans/notification",
                [("X-Forwarded-For", MIDTRANS), ("Transfer-Encoding", "chunked")],
                b"10000\r\n" + b" " * 0x10000 + b"\r\n1\r\n \r\n0\r\n\r\n",
            ),
            413,
            "body_too_large",
            id="too large without saying so",
        ),
        pytest.param(
            request(
                "POST",
                "/midtrans/notification",
                [("X-Forwarded-For", MIDTRANS), ("Content-Encoding", "gzip")],
                b"x",
            ),
            415,
            "body_encoded",
            id="encoded",
            marks=pytest.mark.proof,
        ),
        pytest.param(
            request("POST", "/midtrans/notification", [("Content-Length", "9")], b"x"),
            403,
            "forwarding_untrusted",
            id="no forwarding header",
            marks=pytest.mark.proof,
        ),
        pytest.param(
            request(
                "POST",
                "/midtrans/notification",
                [("X-Forwarded-For", MIDTRANS), ("Content-Length", "9")],
                b"x",
            ),
            408,
            "body_timeout",
            id="slow body",
        ),
        pytest.param(b"POST / HTTP/1.1\r\nHost:", 408, "header_timeout", id="slow headers"),
        pytest.param(
            request("POST", "/midtrans/notification", [("X-Long", "x" * 9000)]),
            431,
            "headers_too_large",
            id="long header",
            marks=pytest.mark.proof,
        ),
        pytest.param(
            b"\x16\x03\x01 not HTTP\r\n\r\n",
            400,
            "body_malformed",
            id="not HTTP",
            marks=pytest.mark.proof,
        ),
        pytest.param(
            request("GET", "/midtrans/notification"),
            405,
            "method_not_allowed",
            id="GET",
            marks=pytest.mark.proof,
        ),
        pytest.param(
            request("POST", "/midtrans/notification/"),
            404,
            "unknown_endpoint",
            id="/",
            marks=pytest.mark.proof,
        ),
    ],
)
async def test_what_must_not_get_in_does_not(
    raw: bytes, status: int, reason: str, config: Path, upstream: Upstream
) -> None:
    async with Node(config, ENVIRON) as node:
        reply = await exchange(node.public[0], raw)
        line = await node.wait_for(event="delivery")
        assert await node.end() == 0
    assert reply.status == status
    assert (line["verdict"], line["reason"], line["status"]) == ("refused", reason, status)
    assert reason.encode() not in reply.body
    assert upstream.received == []


async def test_an_upstream_in_trouble_gets_the_event_again(
    config: Path, upstream: Upstream
) -> None:
    upstream.behave(reset, answer(500), answer(302, [("Location", "/elsewhere")]), answer(204))
    body = midtrans_body()
    async with Node(config, ENVIRON) as node:
        reply = await exchange(node.public[0], midtrans_request(body))
        await upstream.has_received(4)
        done = await node.wait_for(event="attempt", decision="done")
    assert reply.status == 200
    assert [each.body for each in upstream.received] == [body] * 4
    assert [each.values("Relay-Attempt") for each in upstream.received] == [
        [str(number)] for number in (1, 2, 3, 4)
    ]
    assert len({each.values("webhook-id")[0] for each in upstream.received}) == 1
    assert {each.target for each in upstream.received} == {"/hooks"}
    assert done["status"] == 204


async def test_what_was_acknowledged_outlives_a_kill(config: Path, upstream: Upstream) -> None:
    body = midtrans_body()
    async with Node(config, ENVIRON, role="edge") as node:
        assert (await exchange(node.public[0], midtrans_request(body))).status == 200
        await node.end(signal.SIGKILL)
    assert upstream.received == []
    async with Node(config, ENVIRON, role="dispatch"):
        await upstream.has_received(1)
    assert upstream.received[0].body == body


async def test_the_two_halves_work_as_two_processes(config: Path, upstream: Upstream) -> None:
    # One file, whose admin listener is the first one's.
    config.write_text(
        config.read_text().replace(
            'admin: {bind: "127.0.0.1:0"', f'admin: {{bind: "127.0.0.1:{free_port()}"'
        )
    )
    beside = ("--admin", "127.0.0.1:0")
    async with (
        Node(config, ENVIRON, "edge") as edge,
        Node(config, ENVIRON, "dispatch", options=beside) as other,
    ):
        assert other.public == []
        bodies = [midtrans_body() for _ in range(3)]
        for body in bodies:
            assert (await exchange(edge.public[0], midtrans_request(body))).status == 200
        await upstream.has_received(3)
    assert sorted(each.body for each in upstream.received) == sorted(bodies)


async def test_a_dashboard_test_message_is_answered_and_goes_no_further(
    config: Path, upstream: Upstream
) -> None:
    async with Node(config, ENVIRON) as node:
        body = midtrans_body(order_id="payment_notif_test_M004123_1")
        assert (await exchange(node.public[0], midtrans_request(body))).status == 200
        real = midtrans_body()
        assert (await exchange(node.public[0], midtrans_request(real))).status == 200
        await upstream.has_received(1)
        assert await node.end() == 0
    assert [each.body for each in upstream.received] == [real]


async def test_a_late_pending_is_delivered_and_marked(config: Path, upstream: Upstream) -> None:
    payment = {"order_id": "order-8", "transaction_id": "2c28dbbb-8596-48e4-85d7-9f1382db8a1f"}
    async with Node(config, ENVIRON) as node:
        for status, code in (("settlement", "200"), ("pending", "201")):
            body = midtrans_body(**payment, transaction_status=status, status_code=code)
            assert (await exchange(node.public[0], midtrans_request(body))).status == 200
        await upstream.has_received(2)
    marks = {
        orjson.loads(each.body)["transaction_status"]: each.values("Relay-Out-Of-Order")
        for each in upstream.received
    }
    assert marks == {"settlement": [], "pending": ["true"]}


async def test_the_same_key_with_other_content_is_delivered_and_marked(
    config: Path, upstream: Upstream
) -> None:
    first = midtrans_body()
    second = orjson.dumps({**orjson.loads(first), "bank": "another"})
    async with Node(config, ENVIRON) as node:
        for body in (first, second):
            assert (await exchange(node.public[0], midtrans_request(body))).status == 200
        await upstream.has_received(2)
    by_body = {each.body: each for each in upstream.received}
    first_id = by_body[first].values("webhook-id")
    assert by_body[second].values("Relay-Conflict") == first_id
    assert by_body[second].values("webhook-id") != first_id


async def test_expect_100_continue_is_answered_for_an_admitted_client(config: Path) -> None:
    body = midtrans_body()
    whole = midtrans_request(body).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n", 1)
    head = whole[: -len(body)]
    async with Node(config, ENVIRON) as node:
        reader, writer = await asyncio.open_connection(*node.public[0])
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()


async def test_the_log_tells_one_delivery_in_one_line(config: Path, upstream: Upstream) -> None:
    body = midtrans_body()
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        await upstream.has_received(1)
        line = await node.wait_for(event="delivery")
        attempt = await node.wait_for(event="attempt")
        assert await node.end() == 0
    assert line["endpoint"] == line["provider"] == "midtrans"
    assert line["client"] == MIDTRANS
    assert line["client_via"] == "x-forwarded-for"
    assert line["peer"] == "127.0.0.1"
    assert line["matched_entry"] == f"{MIDTRANS}/32"
    assert line["secret"] == 0
    assert line["body_bytes"] == len(body)
    assert line["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert line["id"] == attempt["id"] == upstream.received[0].values("webhook-id")[0]
    assert attempt["outcome"] == "delivered"
    everything = orjson.dumps(node.lines).decode() + "".join(node.noise)
    assert ENVIRON["MIDTRANS_SERVER_KEY"] not in everything
    assert node.noise == []
