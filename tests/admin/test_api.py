"""Kept refusals over the admin API, for who has the token."""

from dataclasses import replace

import orjson
import pytest

from relay.admin.api import json_answer
from relay.admin.serializers import rfc3339
from relay.spool.strangers import StrangerLimits
from tests.admin.test_server import BEARER, SHARED, Bench, bench
from tests.contracts.refusals import BOUNDS, refused
from tests.contracts.strangers import seen
from tests.harness.deliveries import verified

__all__ = ["bench"]


async def test_refusals_are_listed_and_shown(bench: Bench) -> None:
    await bench.spool.refusals.keep([refused(1), refused(2, endpoint="other")], BOUNDS)
    status, text = await bench.get("/api/v1/refusals?endpoint=other", headers=BEARER)
    assert status == 200
    assert [each["id"] for each in orjson.loads(text)["refusals"]] == ["ref_002"]
    status, text = await bench.get("/api/v1/refusals/ref_001", headers=BEARER)
    assert (status, orjson.loads(text)["content"]["body"]) == (200, "1")
    assert (await bench.get("/api/v1/refusals/ref_009", headers=BEARER))[0] == 404
    assert (await bench.get("/api/v1/refusals?reason=bad", headers=BEARER))[0] == 400


async def test_events_and_refusals_are_found_and_shown_by_a_beginning(bench: Bench) -> None:
    named = (("order_id", "ORDER-1"),)
    await bench.spool.refusals.keep([replace(refused(1), references=named), refused(2)], BOUNDS)
    for key in ("one", "two"):
        await bench.spool.put(verified(key=key, event_id=f"evt_{key}", references=named))
    for path, shown in (
        ("events?find=ORDER-1&upstream=billing", ["evt_two", "evt_one"]),
        ("events?find=evt_t", ["evt_two"]),
        ("events?find=ORDER-1&upstream=ledger", []),
        ("refusals?find=ORDE", ["ref_001"]),
    ):
        status, text = await bench.get(f"/api/v1/{path}", headers=BEARER)
        assert status == 200
        [listed] = [each for each in orjson.loads(text).values() if isinstance(each, list)]
        assert [each["id"] for each in listed] == shown
        assert all(each["references"] == [["order_id", "ORDER-1"]] for each in listed)
    for path, whole in (("events/evt_t", "evt_two"), ("refusals/ref_002", "ref_002")):
        status, text = await bench.get(f"/api/v1/{path}", headers=BEARER)
        assert (status, orjson.loads(text)["id"]) == (200, whole)
    for path, message in (
        ("events/evt_", "several events begin with evt_: evt_one, evt_two"),
        ("refusals/ref_00", "several refusals begin with ref_00: ref_001, ref_002"),
        ("events?find=", "find: is empty; write a reference, an event id or a key"),
    ):
        status, text = await bench.get(f"/api/v1/{path}", headers=BEARER)
        assert (status, orjson.loads(text)) == (400, {"error": message})


async def test_a_secret_that_is_configured_is_hidden(bench: Bench) -> None:
    body = b'{"key": "' + SHARED.reveal() + b'"}'
    await bench.spool.refusals.keep([refused(1, body=body)], BOUNDS)
    _, text = await bench.get("/api/v1/refusals/ref_001", headers=BEARER)
    assert orjson.loads(text)["content"]["body"] == '{"key": "***"}'


async def test_a_release_says_why_it_is_refused_still(bench: Bench) -> None:
    await bench.spool.refusals.keep([refused(1)], BOUNDS)
    status, text = await bench.post("/api/v1/refusals/ref_001/release", headers=BEARER)
    assert status == 409
    assert orjson.loads(text)["reason"] == "unknown_endpoint"
    assert (await bench.post("/api/v1/refusals/ref_009/release", headers=BEARER))[0] == 404


async def test_what_was_released_before_is_no_mistake(bench: Bench) -> None:
    await bench.spool.refusals.keep([refused(1)], BOUNDS)
    await bench.spool.refusals.mark_released("ref_001", "evt_1", refused().head.received_at)
    status, text = await bench.post("/api/v1/refusals/ref_001/release", headers=BEARER)
    assert (status, orjson.loads(text)["event"]) == (200, "evt_1")


async def test_one_is_explained_by_what_was_handed_in(bench: Bench) -> None:
    unreadable = replace(refused(2), detail="unreadable")
    await bench.spool.refusals.keep([refused(1), unreadable], BOUNDS)
    status, text = await bench.get("/api/v1/refusals/ref_001/explain", headers=BEARER)
    assert (status, orjson.loads(text)["id"]) == (200, "ref_001")
    assert (await bench.get("/api/v1/refusals/ref_009/explain", headers=BEARER))[0] == 404
    status, text = await bench.get("/api/v1/refusals/ref_002/explain", headers=BEARER)
    assert (status, orjson.loads(text)) == (503, {"error": "dns.json cannot be read"})


async def test_strangers_are_listed(bench: Bench) -> None:
    await bench.spool.strangers.add([seen(1), seen(2, fits=True)], StrangerLimits())
    status, text = await bench.get("/api/v1/strangers?endpoint=shop&limit=1", headers=BEARER)
    assert (status, orjson.loads(text)) == (
        200,
        {
            "strangers": [
                {
                    "endpoint": "shop",
                    "network": "192.0.2.2",
                    "address": "192.0.2.2",
                    "path": "/shop",
                    "times": 1,
                    "first_at": rfc3339(seen(2).first_at),
                    "last_at": rfc3339(seen(2).last_at),
                    "signature_fits": True,
                }
            ]
        },
    )
    assert (await bench.get("/api/v1/strangers?limit=0", headers=BEARER))[0] == 400
    assert (await bench.get("/api/v1/strangers?key=a", headers=BEARER))[0] == 400
    assert (await bench.get("/api/v1/strangers"))[0] == 401


@pytest.mark.parametrize(
    "path", ["/api/v1/refusals", "/api/v1/refusals/ref_001", "/api/v1/refusals/ref_001/explain"]
)
async def test_they_need_the_token(path: str, bench: Bench) -> None:
    assert (await bench.get(path))[0] == 401
    assert (await bench.post("/api/v1/refusals/ref_001/release"))[0] == 401


# ---- an answer as JSON ----------------------------------------------------------------------
# What the admin API says is JSON, whatever the status.


def test_an_answer_is_json_with_its_status() -> None:
    answer = json_answer({"error": "é"}, 409)
    assert (answer.status, answer.content_type) == (409, "application/json")
    assert answer.body == '{"error":"é"}'.encode()
    assert json_answer([]).status == 200


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("events/evt_a/requeue?too=ledger", 'no parameter "too"; there is "to, upstream"'),
        ("refusals/ref_001/release?dry_run=1", 'no parameter "dry_run"; there are none'),
        ("upstreams/billing/pause?until=today", 'no parameter "until"; there are none'),
        ("upstreams/billing/resume?rate=1/s", 'no parameter "rate"; there are none'),
        ("events/requeue?find=one&find=two", "find: is there more than once; write it once"),
    ],
)
async def test_nothing_is_done_where_a_parameter_means_nothing(
    bench: Bench, path: str, message: str
) -> None:
    await bench.spool.put(verified(key="one", event_id="evt_a"))
    status, text = await bench.post(f"/api/v1/{path}", headers=BEARER)
    assert (status, orjson.loads(text)) == (400, {"error": message})
    assert await bench.spool.audit.newest(1) == ()
    assert await bench.spool.pauses.all() == {}


@pytest.mark.parametrize("path", ["events", "refusals", "strangers", "audit", "stream"])
async def test_a_filter_that_stands_twice_is_a_mistake(bench: Bench, path: str) -> None:
    name = {"stream": "status", "audit": "actor"}.get(path, "endpoint")
    status, text = await bench.get(f"/api/v1/{path}?{name}=a&{name}=b", headers=BEARER)
    assert status == 400
    assert "more than once" in text
