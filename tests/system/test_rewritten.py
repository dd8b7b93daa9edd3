"""A real nginx rewrites what it passes on: explain names what it did, from a capture and from what
relay has kept.
"""

import asyncio
import hmac
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import orjson
import pytest

from relay.config import Settings
from relay.config.loader import load
from relay.core.clock import SystemClock
from relay.core.request import Headers
from relay.core.secret import Secret
from relay.explain.capture import parse
from relay.explain.walk import walk
from relay.providers import Provider, SampleOrder
from relay.providers.builtin import provider_named
from tests.harness.node import Node, command
from tests.harness.ports import free_port
from tests.harness.wire import request
from tests.system.fronts import SENDER, needed, nginx, send
from tests.system.test_refusals import kept

VIPPS: Provider = provider_named("vipps")
PUBLIC = "https://pay.example/hooks/vipps"
LUA = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
NDK = Path("/usr/lib/nginx/modules/ndk_http_module.so")

CONFIGURATION = f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1"]
admin: {{bind: "127.0.0.1:0"}}
upstreams: {{billing: {{url: "http://127.0.0.1:1/"}}}}
endpoints:
  - {{name: vipps, path: /hooks/vipps, provider: vipps, environment: test,
     secrets: [vipps-canary], upstream: billing, allowlist: {{replace: ["{SENDER}"]}}}}
  - name: shop
    path: /shop
    upstream: billing
    secrets: [shop-canary]
    allowlist: {{replace: ["{SENDER}"]}}
    provider:
      name: shop
      networks: {{live: {{cidrs: ["192.0.2.0/24"]}}}}
      signature:
        {{scheme: hmac, from: {{header: X_Shop_Sig}}, encoding: base64, signed: "{{body}}"}}
"""

#: Each server does one thing that nginx does by default, or is told to.
REWRITING = """
load_module {ndk};
load_module {lua};
events {{}}
http {{
  proxy_set_header X-Forwarded-For $remote_addr;
  server {{
    listen 127.0.0.1:{stripping};
    location /hooks/ {{ proxy_pass http://127.0.0.1:{behind}/; }}
  }}
  server {{
    listen 127.0.0.1:{naming};
    location / {{
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $host;
      proxy_pass http://127.0.0.1:{behind};
    }}
  }}
  server {{
    listen 127.0.0.1:{dropping};
    location / {{ proxy_pass http://127.0.0.1:{behind}; }}
  }}
  server {{
    listen 127.0.0.1:{encoding};
    underscores_in_headers on;
    location / {{
      access_by_lua_block {{
        ngx.req.read_body()
        ngx.req.set_body_data((ngx.req.get_body_data():gsub(":", ": "):gsub(",", ", ")))
      }}
      proxy_pass http://127.0.0.1:{behind};
    }}
  }}
}}
"""

SERVERS = ("stripping", "naming", "dropping", "encoding")


def vipps_message() -> bytes:
    order = SampleOrder(PUBLIC, Secret("vipps-canary"), SystemClock().now(), {})
    sample = VIPPS.sample(order)
    fields = [("Host", "pay.example"), *sample.headers]
    return request("POST", "/hooks/vipps", fields, sample.body)


def shop_message() -> bytes:
    body = json.dumps({"order": "1", "paid": True}, separators=(",", ":")).encode()
    mac = b64encode(hmac.digest(b"shop-canary", body, "sha256")).decode()
    return request("POST", "/shop", [("Host", "pay.example"), ("X_Shop_Sig", mac)], body)


@asynccontextmanager
async def rewriting(directory: Path, behind: int) -> AsyncIterator[dict[str, int]]:
    """Run nginx in front of this port; yield the port of each of its servers."""
    needed(LUA, NDK)
    ports = {name: free_port() for name in SERVERS}
    text = REWRITING.format(ndk=NDK, lua=LUA, behind=behind, **ports)
    async with nginx(directory, text, *ports.values()):
        yield ports


class Catcher:
    """Takes what comes as it comes, and answers 204."""

    def __init__(self) -> None:
        self.raw = b""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = Headers(
            tuple(
                (name, value.strip())
                for name, _, value in (
                    line.partition(":") for line in head.decode("latin-1").split("\r\n")
                )
            )
        ).values("Content-Length")
        self.raw = head + await reader.readexactly(int(length[0]))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.mark.debian
async def test_what_nginx_did_is_named_from_a_capture(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    settings = load(path, {})
    catcher = Catcher()
    server = await asyncio.start_server(catcher.handle, "127.0.0.1", 0)
    found: dict[str, tuple[str | None, list[str]]] = {}
    async with server, rewriting(tmp_path, server.sockets[0].getsockname()[1]) as ports:
        for name, message in (
            ("stripping", vipps_message()),
            ("naming", vipps_message()),
            ("dropping", shop_message()),
            ("encoding", shop_message()),
        ):
            assert (await send(ports[name], message)).status == 204
            found[name] = await explained(settings, catcher.raw)
    assert found["stripping"] == (
        "unknown_endpoint",
        [
            "the endpoint vipps takes it behind /hooks, which something on the way strips",
        ],
    )
    assert found["naming"] == ("signature_mismatch", [f"it fits with public_url: {PUBLIC}"])
    reason, [said] = found["dropping"]
    assert reason == "signature_missing"
    assert said.startswith("something on the way drops it")
    reason, [said] = found["encoding"]
    assert reason == "signature_mismatch"
    assert said.startswith("it fits the body without white space between its tokens")


async def explained(settings: Settings, raw: bytes) -> tuple[str | None, list[str]]:
    now, proxy = SystemClock().now(), ip_address("127.0.0.1")
    found = await asyncio.to_thread(walk, settings, parse(raw), proxy, now)
    return None if found.reason is None else found.reason.value, found.nearest


@pytest.mark.debian
async def test_what_nginx_did_is_named_from_what_relay_kept(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    async with (
        Node(path, {}) as node,
        rewriting(tmp_path, node.public[0][1]) as ports,
    ):
        assert (await send(ports["naming"], vipps_message())).status == 401
        assert (await send(ports["encoding"], shop_message())).status == 401
        ids = await kept(path, 2)
        told = []
        for refusal in ids:
            code, output, _ = await command(
                path, "refusals", "explain", refusal, "--format", "json"
            )
            found = orjson.loads(output)
            told.append((code, found["endpoint"], found["nearest"][0]))
    (shop_code, shop, shop_said), (vipps_code, vipps, vipps_said) = sorted(
        told, key=lambda each: each[1]
    )
    assert (shop_code, shop, vipps_code, vipps) == (1, "shop", 1, "vipps")
    assert shop_said.startswith("it fits the body without white space between its tokens")
    assert vipps_said == f"it fits with public_url: {PUBLIC}"
