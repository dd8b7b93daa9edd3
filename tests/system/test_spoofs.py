"""Whatever a stranger writes, through whatever stands in front: nobody is taken for another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.harness.ports import free_port
from tests.harness.upstream import Upstream
from tests.system.fronts import (
    OUTER,
    SENDER,
    STRANGER,
    STREAM,
    Relay,
    RunningRelay,
    haproxy,
    message,
    needed,
    nginx,
    send,
)
from tests.system.spoofs import Spoof, spoofs
from tests.system.test_shapes import forwarding, http, passing, site

pytestmark = [pytest.mark.debian, pytest.mark.timeout(180)]

AT_ONCE = 24
#: Another stranger, who comes when all others have been.
LAST = "127.5.5.5"
FORMS = tuple(spoofs(SENDER))
#: What does not wait long for the rest of a broken request.
IMPATIENT = "timeout http-request 1s"

Served = tuple[Relay, int]


def test_there_are_enough_of_them() -> None:
    assert len({form.name for form in FORMS}) == len(FORMS) >= 200


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture(
    params=[
        *("direct", "haproxy forwardfor", "haproxy send-proxy", "haproxy send-proxy-v2"),
        *("haproxy http send-proxy-v2", "nginx", "nginx stream", "nginx haproxy"),
        *("nginx haproxy send-proxy", "haproxy nginx", "forwarded"),
    ]
)
async def served(
    request: pytest.FixtureRequest, stack: AsyncExitStack, tmp_path: Path, upstream: Upstream
) -> Served:
    """Start a relay with a front of this shape, and return it with the port to attack."""
    shape = request.param
    port, inner = free_port(), free_port()
    header = "Forwarded" if shape == "forwarded" else "X-Forwarded-For"
    relay = await stack.enter_async_context(RunningRelay(tmp_path, upstream.url, header))
    proxied = f"127.0.0.1:{relay.proxied}"
    outer = http(site(port, inner, f"proxy_bind {OUTER};"))
    adding = f"{IMPATIENT}\n  http-request add-header Forwarded 'for=\"%[src]\"'"
    stream = (
        f"load_module {STREAM};\nevents {{}}\nstream {{ server {{"
        f" listen [::]:{port} ipv6only=off; proxy_pass {proxied}; proxy_protocol on; }} }}\n"
    )
    sections = {
        "haproxy forwardfor": forwarding(port, relay.plain, IMPATIENT),
        "haproxy send-proxy": passing(port, proxied, "send-proxy"),
        "haproxy send-proxy-v2": passing(port, proxied, "send-proxy-v2"),
        "haproxy http send-proxy-v2": passing(
            port, proxied, f"send-proxy-v2\n  {IMPATIENT}", "http"
        ),
        "nginx haproxy": forwarding(inner, relay.plain, IMPATIENT),
        "nginx haproxy send-proxy": passing(inner, proxied),
        "haproxy nginx": forwarding(port, inner, IMPATIENT, f"source {OUTER}"),
        "forwarded": forwarding(port, relay.plain, adding),
    }
    servers = {
        "nginx": http(site(port, relay.plain)),
        "nginx stream": stream,
        "nginx haproxy": outer,
        "nginx haproxy send-proxy": outer,
        "haproxy nginx": http(site(inner, relay.plain)),
    }
    if shape == "nginx stream":
        needed(STREAM)
    for kind, texts in ((haproxy, sections), (nginx, servers)):
        if shape in texts:
            text = texts[shape]
            opens = [
                each for each in (port, inner) if f":::{each} " in text or f"]:{each} " in text
            ]
            await stack.enter_async_context(kind(tmp_path, text, *opens))
    return relay, relay.plain if shape == "direct" else port


async def attack(relay: Relay, port: int) -> None:
    """Try every form, and check that the relay never took anybody for the sender."""
    free = asyncio.Semaphore(AT_ONCE)

    async def attempt(form: Spoof) -> None:
        async with free:
            await send(port, form.raw, STRANGER, answers=form.answers)

    async with asyncio.TaskGroup() as group:
        for form in FORMS:
            group.create_task(attempt(form))
    # Behind this line of the log stands everything that was done before it.
    await send(relay.plain, message(), LAST)
    await relay.node.wait_for(event="delivery", client=LAST)
    deliveries = relay.node.having(event="delivery")
    # Most forms get as far as the relay, whatever stands in front.
    assert len(deliveries) > len(FORMS) / 2
    assert [line for line in deliveries if line.get("client") == SENDER] == []
    assert [line for line in deliveries if line["verdict"] != "refused"] == []


async def test_none_gets_past(served: Served, upstream: Upstream) -> None:
    relay, port = served
    await attack(relay, port)
    assert upstream.received == []
    # And the one who may send still may.
    assert (await send(port, message())).status == 200
    await relay.node.wait_for(event="delivery", client=SENDER)


@pytest.mark.parametrize("secure", [False, True])
async def test_a_stranger_gets_nothing_past_a_listener_for_proxies(
    secure: bool, relay: Relay, upstream: Upstream
) -> None:
    await attack(relay, relay.proxied_tls if secure else relay.proxied)
    assert upstream.received == []
    reasons = {line["reason"] for line in relay.node.having(peer=STRANGER, endpoint="")}
    assert reasons == {"proxy_header_invalid"}
