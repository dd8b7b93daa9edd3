"""What is redacted, not kept or erased is found nowhere that people look, nor where it is stored.

A relay runs, and its commands beside it; then all that either wrote is searched.
"""

import asyncio
from pathlib import Path

import orjson
import pytest

from tests.harness.deliveries import ENVIRON, MIDTRANS, midtrans_body
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import exchange, request
from tests.system.canaries import found
from tests.system.test_canaries import ADMIN, Watched

READER = "canary-reader-5f0a11c2"
REDACTED = "canary-redacted-4111-1111"
UNKEPT = "canary-unkept-90b1"
ERASED = "canary-erased-77aa"
ORDER = "canary-order-0042"


def configuration(upstream: str) -> str:
    endpoints = "".join(
        f"""
  - name: {name}
    path: /{name}
    provider: midtrans
    environment: sandbox
    secrets: ["{ENVIRON["MIDTRANS_SERVER_KEY"]}"]
    upstream: billing
    {more}
"""
        for name, more in (
            ("redacted", "redact: [/custom_field1]"),
            ("unkept", "keep: none"),
            ("passed", "{mode: proxy, keep: none}".strip("{}").replace(", ", "\n    ")),
            ("erased", "keep: all"),
        )
    )
    return f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0", token: "{ADMIN}", read_token: "{READER}"}}
upstreams:
  billing: {{url: "{upstream}/hooks", retry: {{schedule: [50ms]}}}}
endpoints:{endpoints}
"""


async def send(watched: Watched, path: str, body: bytes) -> int:
    fields = [("Content-Type", "application/json"), ("X-Forwarded-For", MIDTRANS)]
    return (await exchange(watched.public, request("POST", path, fields, body))).status


async def delivered(watched: Watched, number: int) -> list[dict[str, object]]:
    """Return the events once so many are delivered or passed on."""
    async with asyncio.timeout(30):
        while True:
            _, output = await watched.command("events", "list", "--format", "json")
            listed: list[dict[str, object]] = orjson.loads(output)["events"]
            if [each["status"] in {"delivered", "passed"} for each in listed] == [True] * number:
                return listed


async def look(watched: Watched, listed: list[dict[str, object]]) -> None:
    """Look at everything that tells of these events, as one who may read alone."""
    reader = {"Authorization": f"Bearer {READER}"}
    for path in ("/api/v1/events", "/api/v1/refusals", "/api/v1/status", "/events", "/"):
        assert (await watched.ask("GET", path, reader)).status == 200, path
    for each in listed:
        assert (await watched.ask("GET", f"/api/v1/events/{each['id']}", reader)).status == 200
        assert (await watched.ask("GET", f"/events/{each['id']}", reader)).status == 200
        await watched.ask("GET", f"/events/{each['id']}/body", reader)
        refused = await watched.ask("POST", f"/api/v1/events/{each['id']}/requeue", reader)
        assert refused.status == 403
        for form in ("text", "json"):
            await watched.command("events", "show", str(each["id"]), "--format", form)
    kept = orjson.loads((await watched.ask("GET", "/api/v1/refusals", reader)).body)["refusals"]
    assert kept
    for each in kept:
        assert (await watched.ask("GET", f"/api/v1/refusals/{each['id']}", reader)).status == 200
        assert (await watched.ask("GET", f"/refusals/{each['id']}", reader)).status == 200
        await watched.command("refusals", "show", each["id"])
        await watched.command("refusals", "explain", each["id"])
    for form in ("jsonl", "csv"):
        await watched.command("events", "export", "--format", form)
    assert (await watched.ask("POST", "/-/reload", reader)).status == 403


@pytest.mark.timeout(120)
async def test_what_is_private_is_found_nowhere(tmp_path: Path) -> None:
    # Each is refused once, in words that repeat what it says.
    echoes = [
        each
        for said in (REDACTED, UNKEPT, f"{ERASED} of {ORDER}")
        for each in (answer(500, body=f'{{"no such": "{said}"}}'.encode()), answer(200))
    ]
    async with Upstream(*echoes) as upstream:
        config = tmp_path / "relay.yaml"
        config.write_text(configuration(upstream.url))
        async with Watched(config, "json") as watched:
            body = midtrans_body(custom_field1=REDACTED)
            assert await send(watched, "/redacted", body) == 200
            await delivered(watched, 1)
            assert await send(watched, "/unkept", midtrans_body(custom_field1=UNKEPT)) == 200
            await delivered(watched, 2)
            of_person = midtrans_body(custom_field1=ERASED, order_id=ORDER)
            assert await send(watched, "/erased", of_person) == 200
            await delivered(watched, 3)
            assert await send(watched, "/passed", midtrans_body(custom_field1=UNKEPT)) == 200
            await delivered(watched, 4)
            forged = orjson.dumps(orjson.loads(body) | {"signature_key": "0" * 128})
            assert await send(watched, "/redacted", forged) == 401
            async with asyncio.timeout(20):
                while b"ref_" not in (await watched.command("refusals", "list"))[1]:
                    pass
            watched.seen.clear()
            erased = await watched.command("events", "erase", "--find", ORDER, "--yes")
            assert erased[0] == 0
            # The one who erases says what.
            watched.seen.clear()
            assert await send(watched, "/erased", of_person) == 200
            await look(watched, await delivered(watched, 4))
            await watched.end()
    shown = [(place, said) for place, said in watched.seen if not place.startswith("relay.db")]
    everywhere = [("not kept", UNKEPT), ("erased", ERASED)]
    assert found([("redacted", REDACTED), *everywhere], shown) == []
    sent = b"".join(each.body for each in upstream.received)
    assert REDACTED.encode() in sent
    files = [(place, said) for place, said in watched.seen if place.startswith("relay.db")]
    assert found([("redacted", REDACTED)], files)
    assert found([("the order", ORDER), *everywhere], files) == []
