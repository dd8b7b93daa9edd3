"""Asking the status API before delivery, through `relay run` and a real upstream."""

import asyncio
import hashlib
import json
import signal
import sqlite3
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.harness.deliveries import (
    ENVIRON,
    configuration,
    midtrans_body,
    midtrans_request,
    vipps_request,
)
from tests.harness.node import Node, output
from tests.harness.upstream import (
    NOT_FOUND,
    StatusApi,
    Upstream,
    answer,
    close,
    hang,
    reset,
    says,
    send,
    status_of,
)
from tests.harness.wire import exchange

BASIC = "Basic " + b64encode(f"{ENVIRON['MIDTRANS_SERVER_KEY']}:".encode()).decode()


@pytest.fixture
async def api() -> AsyncIterator[StatusApi]:
    async with StatusApi() as running:
        yield running


def written(
    directory: Path, upstream: str, api: str, on_error: str = "hold", give_up_after: str = "5s"
) -> Path:
    """Write a configuration whose Midtrans endpoint asks this API."""
    text = configuration(upstream)
    confirm = f'confirm: {{with: status, on_error: {on_error}, url: "{api}", rate: 100}}'
    text = text.replace(
        "    environment: sandbox\n", f"    environment: sandbox\n    {confirm}\n"
    ).replace("schedule: [50ms]", f"schedule: [50ms], give_up_after: {give_up_after}")
    path = directory / "relay.yaml"
    path.write_text(text)
    return path


async def relay(config: Path, *arguments: str, form: str = "json") -> Any:
    """Return what a command prints."""
    if form == "text":
        return await output(config, *arguments)
    return json.loads(await output(config, *arguments, "--format", "json"))


async def events(config: Path, *arguments: str, form: str = "json") -> Any:
    """Return what `relay events` prints."""
    return await relay(config, "events", *arguments, form=form)


async def result_of(node: Node, result: str) -> float:
    """Return how often asking came to this, by the metrics."""
    return await node.metric(f'confirmations_total{{endpoint="midtrans",result="{result}"}}')


async def test_agreement_is_told_and_the_bytes_are_those_that_came(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="settlement")
    api.behave(says(status_of(body)))
    async with Node(written(tmp_path, upstream.url, api.url), ENVIRON) as node:
        assert (await exchange(node.public[0], midtrans_request(body))).status == 200
        await upstream.has_received(1)
        await node.wait_for(event="attempt", decision="done")
        assert await result_of(node, "confirmed") == 1
    [arrived] = upstream.received
    assert arrived.body == body
    assert arrived.values("Relay-Confirmed") == ["settlement"]
    [asked] = api.asked
    assert asked.method == "GET"
    assert asked.target == f"/v2/{json.loads(body)['transaction_id']}/status"
    assert asked.values("Authorization") == [BASIC]


async def test_a_transaction_that_moved_on_is_told_so(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="pending")
    api.behave(says(status_of(body, transaction_status="settlement", status_code="200")))
    async with Node(written(tmp_path, upstream.url, api.url), ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        await upstream.has_received(1)
    assert upstream.received[0].values("Relay-Confirmed") == ["settlement"]
    assert json.loads(upstream.received[0].body)["transaction_status"] == "pending"


def some_of(*names: str) -> list[object]:
    """Return these cases; those behind the first two take longer than all other tests together."""
    return [*names[:2], *(pytest.param(name, marks=pytest.mark.proof) for name in names[2:])]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"transaction_status": "cancel"}, "settlement was said, and it is cancel"),
        *(
            pytest.param(changes, reason, marks=pytest.mark.proof)
            for changes, reason in (
                ({"transaction_id": "another"}, "transaction_id differs"),
                ({"order_id": "another"}, "order_id differs"),
                ({"gross_amount": "1.00"}, "gross_amount differs"),
                ({"currency": "USD"}, "currency differs"),
                ({"fraud_status": "deny"}, "fraud_status accept was said, and it is deny"),
                ({"signature_key": "0" * 128}, "signature_key of the answer is wrong"),
            )
        ),
    ],
)
async def test_disagreement_holds_the_event_at_once_whatever_on_error_says(
    tmp_path: Path,
    upstream: Upstream,
    api: StatusApi,
    changes: dict[str, str],
    reason: str,
) -> None:
    body = midtrans_body(transaction_status="settlement")
    api.behave(says(status_of(body, **changes)))
    config = written(tmp_path, upstream.url, api.url, on_error="deliver")
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        line = await node.wait_for(event="attempt", decision="held")
        assert (line["level"], line["cause"]) == ("warning", reason)
        assert await result_of(node, "contradicted") == 1
        event = await events(config, "show", line["id"])
        assert (event["status"], event["last_outcome"]) == ("held", f"unconfirmed {reason}")
        assert await node.end() == 0
    assert upstream.received == []
    assert len(api.asked) == 1


@pytest.mark.parametrize("over", ["transaction", "order", "nothing"])
async def test_an_answer_that_has_the_transaction_id_for_an_order_id_confirms_it(
    tmp_path: Path, upstream: Upstream, api: StatusApi, over: str
) -> None:
    body = midtrans_body(transaction_status="settlement")
    transaction, order = (json.loads(body)[name] for name in ("transaction_id", "order_id"))
    told = status_of(body, order_id=transaction)
    if over == "order":
        told["signature_key"] = json.loads(body)["signature_key"]
    elif over == "nothing":
        del told["signature_key"]
    api.behave(says(told))
    async with Node(written(tmp_path, upstream.url, api.url), ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        await upstream.has_received(1)
    assert upstream.received[0].values("Relay-Confirmed") == ["settlement"]
    names = [transaction] if over == "order" else [transaction, order]
    assert [each.target for each in api.asked] == [f"/v2/{name}/status" for name in names]


async def test_signed_fields_of_another_order_are_not_confirmed_by_a_payment(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    # The customer's own payment of the same amount, and the signed fields of somebody's order.
    mine = json.loads(midtrans_body(transaction_status="settlement"))["transaction_id"]
    somebodys = midtrans_body(transaction_status="settlement")
    forged = json.dumps({**json.loads(somebodys), "transaction_id": mine}).encode()
    told = status_of(forged, order_id=mine)
    theirs = status_of(somebodys)
    api.behave(says(told), says(theirs))
    config = written(tmp_path, upstream.url, api.url, on_error="deliver")
    async with Node(config, ENVIRON) as node:
        assert (await exchange(node.public[0], midtrans_request(forged))).status == 200
        line = await node.wait_for(event="attempt", decision="held")
        assert line["cause"] == "transaction_id differs"
    assert upstream.received == []
    assert len(api.asked) == 2


async def test_an_api_that_is_behind_is_asked_again(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="settlement")
    behind = says(status_of(body, transaction_status="pending", status_code="201"))
    api.behave(behind, says(status_of(body)))
    config = written(tmp_path, upstream.url, api.url, give_up_after="1m")
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        line = await node.wait_for(event="attempt", outcome="unconfirmed")
        assert (line["decision"], line["cause"]) == (
            *("retry", "settlement was said, and it is pending"),
        )
        await upstream.has_received(1)
        assert await result_of(node, "not_yet") == 1
    assert upstream.received[0].values("Relay-Confirmed") == ["settlement"]


@pytest.mark.parametrize("on_error", ["hold", "deliver"])
async def test_the_wait_for_what_is_not_known_is_configured(
    tmp_path: Path, upstream: Upstream, api: StatusApi, on_error: str
) -> None:
    api.behave(says(NOT_FOUND))
    config = written(tmp_path, upstream.url, api.url, on_error, give_up_after="1h")
    config.write_text(config.read_text().replace("rate: 100", "rate: 100, wait: 300ms"))
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(midtrans_body()))
        decision = "held" if on_error == "hold" else "done"
        await node.wait_for(event="attempt", decision=decision)
    assert [each.values("Relay-Confirmed") for each in upstream.received] == (
        [] if on_error == "hold" else [[]]
    )


async def test_a_key_of_its_own_asks(tmp_path: Path, upstream: Upstream, api: StatusApi) -> None:
    body = midtrans_body(transaction_status="settlement")
    config = written(tmp_path, upstream.url, api.url)
    key = 'rate: 100, key: "${env:MERCHANT_KEY}"'
    config.write_text(config.read_text().replace("rate: 100", key))
    api.behave(says(status_of(body)))
    async with Node(config, {**ENVIRON, "MERCHANT_KEY": "SB-Mid-server-merchant"}) as node:
        await exchange(node.public[0], midtrans_request(body))
        await upstream.has_received(1)
    merchant = "Basic " + b64encode(b"SB-Mid-server-merchant:").decode()
    assert api.asked[0].values("Authorization") == [merchant]


FAILURES = {
    "not found in 200": (says(NOT_FOUND), "not_found", "not found"),
    "404": (answer(404), "not_found", "not found"),
    "429": (answer(429), "limited", "too many requests"),
    "503": (answer(503), "error", "http 503"),
    "500 in 200": (says({"status_code": "500"}), "error", "status_code 500"),
    "401": (answer(401), "error", "http 401"),
    "redirect": (answer(302, [("Location", "http://192.0.2.1/")]), "error", "http 302"),
    "garbage": (answer(200, body=b"<html>"), "error", "malformed answer"),
    "not http": (send(b"220 ready\r\n", close), "error", "malformed"),
    "huge": (answer(200, body=b'{"a": "' + b"x" * 300_000 + b'"}'), "error", "oversized"),
    "encoded": (answer(200, [("Content-Encoding", "gzip")], b"{}"), "error", "malformed answer"),
    "repeats the key": (
        says({**NOT_FOUND, "status_code": "200", "status_message": BASIC}),
        *("error", "status_code 200"),
    ),
    "close": (close, "error", "closed"),
    "reset": (reset, "error", "reset"),
}


@pytest.mark.parametrize("failure", some_of(*FAILURES))
async def test_failures_are_tried_again_until_it_is_known(
    tmp_path: Path, upstream: Upstream, api: StatusApi, failure: str
) -> None:
    behaviour, result, cause = FAILURES[failure]
    body = midtrans_body(transaction_status="settlement")
    # What is not known yet is asked about after 5 seconds, then after 30.
    times = 1 if result == "not_found" else 2
    api.behave(*(times * (behaviour,)), says(status_of(body)))
    async with Node(written(tmp_path, upstream.url, api.url, give_up_after="20s"), ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        await upstream.has_received(1)
        await node.wait_for(event="attempt", decision="done")
        lines = node.having(event="attempt", outcome="unconfirmed", cause=cause)
        assert [line["decision"] for line in lines] == ["retry"] * times
        assert await result_of(node, result) == times
    [arrived] = upstream.received
    assert arrived.values("Relay-Confirmed") == ["settlement"]
    assert arrived.values("Relay-Attempt") == [str(times + 1)]


@pytest.mark.parametrize("failure", some_of("not found in 200", "503", "429", "garbage", "close"))
async def test_what_is_never_confirmed_is_held_in_the_end(
    tmp_path: Path, upstream: Upstream, api: StatusApi, failure: str
) -> None:
    api.behave(FAILURES[failure][0])
    config = written(tmp_path, upstream.url, api.url, give_up_after="1s")
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(midtrans_body()))
        line = await node.wait_for(event="attempt", decision="held")
        assert (await events(config, "show", line["id"]))["status"] == "held"
        assert await node.end() == 0
    assert upstream.received == []


@pytest.mark.parametrize("failure", some_of("not found in 200", "503", "429", "garbage", "close"))
async def test_on_error_deliver_sends_it_without_the_header(
    tmp_path: Path, upstream: Upstream, api: StatusApi, failure: str
) -> None:
    api.behave(FAILURES[failure][0])
    config = written(tmp_path, upstream.url, api.url, "deliver", give_up_after="1s")
    body = midtrans_body()
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        await node.wait_for(event="attempt", decision="done")
        assert node.having(event="attempt", outcome="unconfirmed", decision="retry")
    [arrived] = upstream.received
    assert (arrived.body, arrived.values("Relay-Confirmed")) == (body, [])


async def test_a_challenge_that_became_an_acceptance_on_the_way_is_held(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    said = midtrans_body(transaction_status="capture", fraud_status="challenge", status_code="201")
    altered = said.replace(b'"challenge"', b'"accept"')
    assert altered != said
    api.behave(says(status_of(said)))
    async with Node(written(tmp_path, upstream.url, api.url), ENVIRON) as node:
        # None of the signed fields is another.
        assert (await exchange(node.public[0], midtrans_request(altered))).status == 200
        line = await node.wait_for(event="attempt", decision="held")
        assert line["cause"] == "fraud_status accept was said, and it is challenge"
        assert (await exchange(node.public[0], midtrans_request(said))).status == 200
        await upstream.has_received(1)
    [arrived] = upstream.received
    assert (arrived.body, arrived.values("Relay-Confirmed")) == (said, ["capture"])


async def test_a_burst_waits_for_our_own_rate_and_loses_nothing_by_it(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="settlement")
    # One transaction, told of in other words each time: each is an event of its own.
    burst = [
        json.dumps({**json.loads(body), "custom_field1": str(number)}).encode()
        for number in range(40)
    ]
    times: list[float] = []

    async def agrees(writer: asyncio.StreamWriter) -> None:
        times.append(time.monotonic())
        await says(status_of(body))(writer)

    api.behave(agrees)
    # Less time than the burst takes: waiting is no part of it.
    config = written(tmp_path, upstream.url, api.url, "deliver", give_up_after="1s")
    config.write_text(config.read_text().replace("rate: 100", "rate: 5"))
    async with Node(config, ENVIRON) as node:
        async with asyncio.TaskGroup() as group:
            for each in burst:
                group.create_task(exchange(node.public[0], midtrans_request(each)))
        # Events of others do not stand in line behind these.
        await exchange(node.public[0], vipps_request()[0])
        await node.wait_for(event="attempt", endpoint="vipps", decision="done")
        assert len(node.having(event="attempt", endpoint="midtrans")) < 40
        await upstream.has_received(41)
        await node.wait_for(41, event="attempt", decision="done")
        assert len(node.having(event="attempt")) == 41
        assert await result_of(node, "confirmed") == 40
        assert await result_of(node, "error") == 0
        listed = await events(config, "list", "--status", "delivered", "--limit", "100")
        assert [each["attempts"] for each in listed["events"]] == [1] * 41
    midtrans = [each for each in upstream.received if each.values("Relay-Endpoint") == ["midtrans"]]
    assert {each.body for each in midtrans} == set(burst)
    for arrived in midtrans:
        assert arrived.values("Relay-Attempt") == ["1"]
        assert arrived.values("Relay-Confirmed") == ["settlement"]
    # As many at once as in a second, and as many in the second after; some may be held up on the
    # way, and come together.
    for at in times:
        assert sum(at <= other < at + 1 for other in times) <= 15
    assert times[-1] - times[0] > 6


async def test_a_pause_that_the_api_asks_for_is_kept_and_others_go_on(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="settlement")
    api.behave(answer(429, [("Retry-After", "1")]), says(status_of(body)))
    async with Node(written(tmp_path, upstream.url, api.url), ENVIRON) as node:
        asked_at = time.monotonic()
        await exchange(node.public[0], midtrans_request(body))
        await node.wait_for(event="attempt", cause="too many requests", decision="retry")
        again = json.dumps({**json.loads(body), "custom_field1": "1"}).encode()
        await exchange(node.public[0], midtrans_request(again))
        await node.wait_for(event="attempt", cause="api left alone", decision="retry")
        await exchange(node.public[0], vipps_request()[0])
        await upstream.has_received(1)
        assert len(api.asked) == 1
        await upstream.has_received(3)
        assert time.monotonic() - asked_at >= 1
    assert [len(each.values("Relay-Confirmed")) for each in upstream.received] == [0, 1, 1]


async def test_what_is_held_is_listed_and_counted_until_a_person_has_seen_to_it(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="settlement")
    api.behave(says(status_of(body, gross_amount="1.00")))
    config = written(tmp_path, upstream.url, api.url)
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        line = await node.wait_for(event="attempt", decision="held")
        [held] = (await events(config, "list", "--status", "held"))["events"]
        assert (held["id"], held["status"]) == (line["id"], "held")
        assert await node.metric('spool_events{endpoint="midtrans",status="held"}') == 1
        # Nothing has changed: it is asked about again, and held again.
        await events(config, "requeue", line["id"], form="text")
        await node.wait_for(2, event="attempt", decision="held")
        api.behave(says(status_of(body)))
        await events(config, "requeue", line["id"], form="text")
        await upstream.has_received(1)
        await node.wait_for(event="attempt", decision="done")
        assert (await events(config, "list", "--status", "held"))["events"] == []
    assert upstream.received[0].values("Relay-Attempt") == ["3"]


async def test_what_was_refused_and_released_is_asked_about_too(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="settlement")
    api.behave(says(status_of(body, transaction_status="cancel")))
    config = written(tmp_path, upstream.url, api.url)
    wrong = {**ENVIRON, "MIDTRANS_SERVER_KEY": "SB-Mid-server-wrong"}
    async with Node(config, wrong) as node:
        assert (await exchange(node.public[0], midtrans_request(body))).status == 401
        assert await node.end() == 0
    async with Node(config, ENVIRON) as node:
        [refusal] = (await relay(config, "refusals", "list"))["refusals"]
        await relay(config, "refusals", "release", refusal["id"])
        line = await node.wait_for(event="attempt", decision="held")
        assert line["cause"] == "settlement was said, and it is cancel"
    assert upstream.received == []


async def test_an_api_that_hangs_holds_up_neither_answers_nor_others(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    api.behave(hang)
    config = written(tmp_path, upstream.url, api.url, give_up_after="1s")
    async with Node(config, ENVIRON) as node:
        for _ in range(5):
            reply = await exchange(node.public[0], midtrans_request(midtrans_body()))
            assert reply.status == 200
        await exchange(node.public[0], vipps_request()[0])
        done = await node.wait_for(event="attempt", endpoint="vipps", decision="done")
        earlier = node.lines[: node.lines.index(done)]
        assert [each for each in earlier if each["event"] == "attempt"] == []
        line = await node.wait_for(event="attempt", decision="held")
        assert line["cause"] == "timeout"
    assert [each.values("Relay-Endpoint") for each in upstream.received] == [["vipps"]]


async def test_stopping_cuts_a_question_short_and_nothing_is_sent(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    api.behave(hang)
    config = written(tmp_path, upstream.url, api.url)
    config.write_text(config.read_text().replace("shutdown_grace: 5s", "shutdown_grace: 0s"))
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(midtrans_body()))
        await api.server.has_received(1)
        assert await node.end() == 0
    assert upstream.received == []
    with closing(sqlite3.connect(tmp_path / "relay.db")) as spool:
        assert spool.execute("SELECT status FROM history").fetchall() == [("pending",)]


async def test_what_was_held_goes_out_once_it_is_confirmed_after_a_requeue(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="settlement")
    api.behave(says(status_of(body, order_id="another")))
    config = written(tmp_path, upstream.url, api.url)
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        line = await node.wait_for(event="attempt", decision="held")
        api.behave(says(status_of(body)))
        await events(config, "requeue", line["id"], form="text")
        await upstream.has_received(1)
    assert upstream.received[0].values("Relay-Confirmed") == ["settlement"]


async def test_the_key_is_the_one_that_signed(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="settlement")
    config = written(tmp_path, upstream.url, api.url)
    both = 'secrets: ["${env:NEW_KEY}", "${env:MIDTRANS_SERVER_KEY}"]'
    config.write_text(config.read_text().replace('secrets: ["${env:MIDTRANS_SERVER_KEY}"]', both))
    api.behave(says(status_of(body)))
    async with Node(config, {**ENVIRON, "NEW_KEY": "SB-Mid-server-new"}) as node:
        await exchange(node.public[0], midtrans_request(body))
        await upstream.has_received(1)
    assert api.asked[0].values("Authorization") == [BASIC]


async def test_a_notice_of_an_account_cannot_be_confirmed(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    key = ENVIRON["MIDTRANS_SERVER_KEY"]
    covered = f"account-1ENABLED200{key}"
    body = json.dumps(
        {
            "account_id": "account-1",
            "account_status": "ENABLED",
            "status_code": "200",
            "signature_key": hashlib.sha512(covered.encode()).hexdigest(),
        }
    ).encode()
    config = written(tmp_path, upstream.url, api.url, "deliver")
    async with Node(config, ENVIRON) as node:
        assert (await exchange(node.public[0], midtrans_request(body))).status == 200
        line = await node.wait_for(event="attempt", decision="held")
        assert line["cause"] == "names no transaction"
    assert (upstream.received, api.asked) == ([], [])


async def test_an_event_whose_endpoint_is_gone_does_not_go_out_unasked(
    tmp_path: Path, upstream: Upstream, api: StatusApi
) -> None:
    body = midtrans_body(transaction_status="settlement")
    api.behave(answer(503))
    config = written(tmp_path, upstream.url, api.url, give_up_after="1s")
    text = config.read_text()
    begin, end = text.index("  - name: midtrans"), text.index("  - name: vipps")
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(body))
        await node.wait_for(event="attempt", cause="http 503", decision="retry")
        # No other endpoint asks.
        config.write_text(text[:begin] + text[end:])
        node.send(signal.SIGHUP)
        await node.wait_for(event="reloaded")
        held = await node.wait_for(event="attempt", decision="held")
        assert held["cause"] == "endpoint midtrans is not configured; name it again"
        assert upstream.received == []
        api.behave(says(status_of(body)))
        config.write_text(text)
        node.send(signal.SIGHUP)
        await node.wait_for(2, event="reloaded")
        await events(config, "requeue", held["id"], form="text")
        await upstream.has_received(1)
    assert upstream.received[0].values("Relay-Confirmed") == ["settlement"]


async def test_an_event_that_needs_no_asking_goes_out_without_its_endpoint(
    tmp_path: Path, api: StatusApi
) -> None:
    async with Upstream(answer(503)) as upstream:
        config = written(tmp_path, upstream.url, api.url)
        text = config.read_text()
        async with Node(config, ENVIRON) as node:
            await exchange(node.public[0], vipps_request()[0])
            await node.wait_for(event="attempt", endpoint="vipps", decision="retry")
            config.write_text(text[: text.index("  - name: vipps")])
            node.send(signal.SIGHUP)
            await node.wait_for(event="reloaded")
            upstream.behave(answer(200))
            await node.wait_for(event="attempt", endpoint="vipps", decision="done")
