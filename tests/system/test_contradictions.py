"""What Midtrans' signature does not cover, against what it does, through `relay run`."""

import json
from pathlib import Path

import pytest

from tests.harness.deliveries import ENVIRON, midtrans_body, midtrans_request
from tests.harness.node import Node
from tests.harness.upstream import NOT_FOUND, StatusApi, Upstream, says, status_of
from tests.harness.wire import exchange
from tests.system.test_confirm import events, written

DOUBTFUL = {"status_code": "201", "transaction_status": "settlement"}


async def test_a_status_that_the_signed_code_contradicts_is_held_until_a_person_frees_it(
    config: Path, upstream: Upstream
) -> None:
    body = midtrans_body(**DOUBTFUL)
    async with Node(config, ENVIRON) as node:
        for _ in range(5):
            reply = await exchange(node.public[0], midtrans_request(body))
            assert (reply.status, reply.body) == (200, b"OK")
        held = await node.wait_for(event="event_held")
        assert (held["level"], held["endpoint"]) == ("warning", "midtrans")
        assert held["reason"] == "status_contradicts_code"
        await node.wait_for(4, event="delivery", verdict="duplicate")
        assert not any("revived" in line for line in node.having(event="delivery"))
        found = await events(config, "show", held["id"])
        assert (found["status"], found["reason"]) == ("held", "status_contradicts_code")
        # What comes behind it is delivered.
        await exchange(node.public[0], midtrans_request(midtrans_body()))
        await upstream.has_received(1)
        await events(config, "requeue", held["id"], form="text")
        await upstream.has_received(2)
        assert await node.end() == 0
    assert [each.body for each in upstream.received][1:] == [body]


@pytest.mark.parametrize("on_error", ["hold", "deliver"])
async def test_where_the_provider_is_asked_it_goes_out_when_that_agrees(
    tmp_path: Path, upstream: Upstream, on_error: str
) -> None:
    agreed, denied, unknown = (midtrans_body(**DOUBTFUL) for _ in range(3))
    async with StatusApi() as api:
        config = written(tmp_path, upstream.url, api.url, on_error, "400ms")
        async with Node(config, ENVIRON) as node:
            api.behave(says(status_of(agreed, status_code="200")))
            await exchange(node.public[0], midtrans_request(agreed))
            await upstream.has_received(1)
            ids = []
            for number, (body, said) in enumerate(
                ((denied, status_of(denied, gross_amount="1.00")), (unknown, NOT_FOUND)), 1
            ):
                api.behave(says(said))
                await exchange(node.public[0], midtrans_request(body))
                held = await node.wait_for(number, event="attempt", decision="held")
                ids.append(held["id"])
                # A copy asks nobody, and frees nothing.
                asked = len(api.asked)
                await exchange(node.public[0], midtrans_request(body))
                await node.wait_for(number, event="delivery", verdict="duplicate")
                assert len(api.asked) == asked
            for event_id in ids:
                found = await events(config, "show", event_id)
                assert found["reason"] == "status_contradicts_code"
            assert await node.end() == 0
    [arrived] = upstream.received
    assert arrived.body == agreed
    assert arrived.values("Relay-Confirmed") == ["settlement"]


async def test_one_signature_under_many_transactions_is_delivered_as_a_conflict(
    config: Path, upstream: Upstream
) -> None:
    body = midtrans_body()
    captured = json.loads(body)
    forged = [
        json.dumps({**captured, "transaction_id": f"invented-{number}"}).encode()
        for number in range(5)
    ]
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        first = await node.wait_for(event="delivery", verdict="accepted")
        for each in forged:
            assert (await exchange(node.public[0], midtrans_request(each))).status == 200
        await upstream.has_received(6)
        assert await node.metric('conflicts_total{endpoint="midtrans"}') == 5
        assert await node.end() == 0
    marks = {each.body: each.values("Relay-Conflict") for each in upstream.received}
    assert marks == {body: [], **{each: [first["id"]] for each in forged}}


async def test_it_is_held_where_deliveries_are_passed_on_as_well(
    config: Path, upstream: Upstream
) -> None:
    text = config.read_text()
    config.write_text(text.replace("provider: midtrans\n", "provider: midtrans\n    mode: proxy\n"))
    body = midtrans_body(**DOUBTFUL)
    async with Node(config, ENVIRON) as node:
        reply = await exchange(node.public[0], midtrans_request(body))
        assert (reply.status, reply.body) == (200, b"OK")
        held = await node.wait_for(event="event_held", reason="status_contradicts_code")
        await exchange(node.public[0], midtrans_request(midtrans_body()))
        await upstream.has_received(1)
        await events(config, "requeue", held["id"], form="text")
        await upstream.has_received(2)
        assert await node.end() == 0
    assert upstream.received[1].body == body
