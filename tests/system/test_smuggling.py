"""What two readers could take for different things brings nothing in, alone and behind fronts.

Behind a front, a stranger sends it: each form, and each request that hides in one, is genuine and
says that an allowed sender sent it. The front adds the stranger's own address to every request
that it sees. So whatever is accepted was a request to the relay and none to the front.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from tests.edge.smuggling import forms
from tests.harness.deliveries import midtrans_body
from tests.harness.ports import free_port
from tests.harness.upstream import Upstream
from tests.system.fronts import SENDER, STRANGER, Relay, haproxy, message, nginx, send

_PATH = "/midtrans/notification"

#: How long a front may leave open what it cannot make sense of, in seconds.
_SILENCE = 0.3
_AT_ONCE = 16

_HAPROXY = """
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 3s
  timeout server 5s
  timeout http-request 3s
  http-reuse always
frontend open
  bind 127.0.0.1:{port}
  option forwardfor
  default_backend relay
backend relay
  server relay 127.0.0.1:{relay}
"""

_NGINX = """
events {{}}
http {{
  upstream relay {{ server 127.0.0.1:{relay}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://relay;
      proxy_http_version 1.1;
      proxy_request_buffering {buffering};
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


def every_form() -> dict[str, bytes]:
    """Return every form, all of messages that nobody else sends."""
    allowed = f"X-Forwarded-For: {SENDER}"
    usual = [b"Content-Type: application/json", allowed.encode()]
    hidden = message().replace(b"\r\n", f"\r\n{allowed}\r\n".encode(), 1)
    return forms(_PATH.encode(), usual, midtrans_body(), hidden)


async def statuses(port: int, raw: bytes, came_from: str) -> list[int]:
    """Send bytes over a connection of their own; return the status of every answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(came_from, 0))
    got = b""
    try:
        writer.write(raw)
        with suppress(TimeoutError, ConnectionError):
            while more := await asyncio.wait_for(reader.read(65536), _SILENCE):
                got += more
    finally:
        writer.close()
    return [
        int(each[:3]) for each in got.replace(b"HTTP/1.0 ", b"HTTP/1.1 ").split(b"HTTP/1.1 ")[1:]
    ]


async def attacked(port: int, came_from: str) -> dict[str, list[int]]:
    """Send every form, and an honest message behind each; return how the forms were answered."""
    found: dict[str, list[int]] = {}
    some = asyncio.Semaphore(_AT_ONCE)

    async def attack(name: str, raw: bytes) -> None:
        async with some:
            found[name] = await statuses(port, raw, came_from)
            assert (await send(port, message(), SENDER)).status == 200, f"after {name}"

    async with asyncio.TaskGroup() as group:
        for name, raw in every_form().items():
            group.create_task(attack(name, raw))
    return found


async def brought(relay: Relay, upstream: Upstream, honest: int) -> None:
    """Check that the honest messages were stored and delivered, and nothing beside them."""
    await upstream.has_received(honest)
    assert await relay.node.end() == 0
    accepted = relay.node.having(event="delivery", verdict="accepted")
    assert {line["client"] for line in accepted} == {SENDER}
    assert len(accepted) == honest
    assert len(upstream.received) == honest


async def test_alone(relay: Relay, upstream: Upstream) -> None:
    found = await attacked(relay.plain, SENDER)
    assert {name: each for name, each in found.items() if each != [400]} == {}
    await brought(relay, upstream, len(found))
    refused = relay.node.having(event="delivery", verdict="refused")
    assert {line["reason"] for line in refused} == {"body_malformed"}
    assert len(refused) == len(found)


@pytest.mark.debian
async def test_behind_haproxy(tmp_path: Path, relay: Relay, upstream: Upstream) -> None:
    port = free_port()
    async with haproxy(tmp_path, _HAPROXY.format(port=port, relay=relay.plain), port):
        found = await attacked(port, STRANGER)
        await brought(relay, upstream, len(found))
    assert min(status for each in found.values() for status in each) >= 400


@pytest.mark.debian
@pytest.mark.parametrize("buffering", ["on", "off"])
async def test_behind_nginx(
    buffering: str, tmp_path: Path, relay: Relay, upstream: Upstream
) -> None:
    port = free_port()
    text = _NGINX.format(port=port, relay=relay.plain, buffering=buffering)
    async with nginx(tmp_path, text, port):
        found = await attacked(port, STRANGER)
        await brought(relay, upstream, len(found))
    assert min(status for each in found.values() for status in each) >= 400
