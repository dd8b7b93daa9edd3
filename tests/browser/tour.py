"""Every page there is, by a name, on a relay that has something to show on each."""

import asyncio
from typing import Any, Final

import orjson

from tests.browser.scene import Scene
from tests.harness.deliveries import BEARER, STRANGER, midtrans_body
from tests.harness.wire import exchange, request

#: A name for each page that needs no session, and its path.
OPEN: Final = {"login": "/login"}


async def asked(scene: Scene, path: str) -> Any:
    """Return what the API answers."""
    reply = await exchange(scene.node.admin, request("GET", path, [BEARER]))
    assert reply.status == 200, reply
    return orjson.loads(reply.body)


async def act(scene: Scene, path: str) -> None:
    """Ask the API to do something."""
    reply = await exchange(scene.node.admin, request("POST", path, [BEARER]))
    assert reply.status == 200, reply


async def refuse(scene: Scene) -> None:
    """Send what is refused: forged, twice, and rightly signed by a stranger."""
    forged = midtrans_body(order_id="tour-2").replace(b'"tour-2"', b'"tour-4"')
    assert await scene.send(forged) == 401
    assert await scene.send(forged) == 401
    assert await scene.send(midtrans_body(order_id="tour-3"), STRANGER) == 403


async def all_refusals(scene: Scene, number: int) -> list[dict[str, Any]]:
    """Return the refusals, once there are so many: they are written behind the answers."""
    async with asyncio.timeout(20):
        while True:
            found: list[dict[str, Any]] = (await asked(scene, "/api/v1/refusals"))["refusals"]
            if len(found) >= number:
                return found


async def paths(scene: Scene) -> dict[str, str]:
    """Let a message be delivered and one be refused; return the path of each page, by its name."""
    assert await scene.send(midtrans_body(order_id="tour-1")) == 200
    [event] = (await asked(scene, "/api/v1/events?limit=1"))["events"]
    [dead, *_] = (await asked(scene, "/api/v1/events?status=dead"))["events"]
    await refuse(scene)
    await act(scene, "/api/v1/upstreams/ledger/pause")
    refusals = await all_refusals(scene, 2)
    kept = {each["reason"]: each["id"] for each in refusals}
    return {
        "overview": "/",
        "events": "/events",
        "events-none": "/events?key=nobody-has-this",
        "event": f"/events/{event['id']}",
        "event-dead": f"/events/{dead['id']}",
        "requeue": f"/events/{dead['id']}/requeue",
        "refusals": "/refusals",
        "strangers": "/refusals/strangers",
        "strangers-none": "/refusals/strangers?endpoint=vipps",
        "refusals-none": "/refusals?reason=body_malformed",
        "refusal": f"/refusals/{kept['signature_mismatch']}",
        "refusal-unknown": f"/refusals/{kept['source_not_allowed']}",
        "release": f"/refusals/{kept['source_not_allowed']}/release",
        "upstreams": "/upstreams",
        "pause": "/upstreams/billing/pause",
        "allowlist": f"/allowlist?address={STRANGER}",
        "allowlist-mistake": "/allowlist?address=localhost",
        "not-found": "/events/evt_0000",
    }
