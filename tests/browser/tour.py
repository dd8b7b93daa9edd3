"""Every page there is, by a name, on a relay that has something to show on each."""

from typing import Any, Final

import orjson

from tests.browser.scene import Scene
from tests.harness.deliveries import BEARER, midtrans_body
from tests.harness.wire import exchange, request

#: A name for each page that needs no session, and its path.
OPEN: Final = {"login": "/login"}


async def asked(scene: Scene, path: str) -> Any:
    """Return what the API answers."""
    reply = await exchange(scene.node.admin, request("GET", path, [BEARER]))
    assert reply.status == 200, reply
    return orjson.loads(reply.body)


async def paths(scene: Scene) -> dict[str, str]:
    """Let a message be delivered and one be refused; return the path of each page, by its name."""
    assert await scene.send(midtrans_body(order_id="tour-1")) == 200
    [event] = (await asked(scene, "/api/v1/events?limit=1"))["events"]
    return {
        "events": "/events",
        "events-none": "/events?key=nobody-has-this",
        "event": f"/events/{event['id']}",
    }
