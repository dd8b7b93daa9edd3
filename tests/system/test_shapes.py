"""However a relay is deployed, it takes a client for who it is: real fronts, real addresses."""

import asyncio
from itertools import product
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
    needed,
    nginx,
    seen,
    send,
)

pytestmark = pytest.mark.debian

XFF, PROXY, PEER, FORWARDED = "x-forwarded-for", "proxy", "peer", "forwarded"


async def right(
    relay: Relay, port: int, via: str, to: str = "127.0.0.1", secure: bool = False
) -> None:
    """Check that both clients are themselves through this port, and one of them may send."""
    trust = relay.trust if secure else None
    for client, status in ((SENDER, 200), (STRANGER, 403)):
        assert await seen(relay, port, client, to, trust) == (status, client, via)


async def test_direct(relay: Relay) -> None:
    assert await seen(relay, relay.plain) == (200, SENDER, PEER)
    assert await seen(relay, relay.plain, STRANGER) == (403, STRANGER, PEER)


async def test_a_proxy_has_three_seconds_to_say_who_is_calling(relay: Relay) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await send(relay.proxied, b"PROXY TCP4 127.7.7.7 ", "127.0.0.1")).status == 0
    assert 2.9 < loop.time() - began < 10
    line = await relay.node.wait_for(event="delivery", reason="proxy_header_invalid")
    assert (line["peer"], line["detail"]) == ("127.0.0.1", "no whole header in time")


def forwarding(port: int, to: int, more: str = "", server: str = "") -> str:
    """Return a section of HAProxy that forwards HTTP, both families on one port."""
    return f"""
listen forwarding-{port}
  mode http
  bind :::{port} v4v6
  option forwardfor
  {more}
  server relay 127.0.0.1:{to} {server}
"""


def passing(port: int, to: str, server: str = "send-proxy-v2", mode: str = "tcp") -> str:
    """Return a section of HAProxy that passes bytes on behind a PROXY header."""
    return f"""
listen passing-{port}
  mode {mode}
  bind :::{port} v4v6
  server relay {to} {server}
"""


def site(port: int, to: int, more: str = "") -> str:
    """Return a server of nginx that forwards HTTP, both families on one port."""
    return f"""
  server {{
    listen [::]:{port} ipv6only=off;
    location / {{
      proxy_pass http://127.0.0.1:{to};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      {more}
    }}
  }}
"""


def http(*sites: str, more: str = "") -> str:
    return f"events {{}}\nhttp {{\n{more}{''.join(sites)}}}\n"


async def test_behind_haproxy_with_a_header(tmp_path: Path, relay: Relay) -> None:
    port = free_port()
    async with haproxy(tmp_path, forwarding(port, relay.plain), port):
        await right(relay, port, XFF)
        # The two families share the port; an IPv4 client is no IPv6 client there.
        assert await seen(relay, port, "::1", "::1") == (403, None, None)


SENDING = (
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2 proxy-v2-options crc32c",
    "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl,cert-cn",
)


async def test_behind_haproxy_with_a_proxy_header(tmp_path: Path, relay: Relay) -> None:
    ways: dict[int, str] = {}
    for mode, server in product(("tcp", "http"), SENDING):
        for to in (f"127.0.0.1:{relay.proxied}", f"[::1]:{relay.proxied_six}"):
            port = free_port(ways)
            ways[port] = passing(port, to, server, mode)
    async with haproxy(tmp_path, "".join(ways.values()), *ways):
        for port in ways:
            await right(relay, port, PROXY)


async def test_tls_behind_a_proxy_header(tmp_path: Path, relay: Relay) -> None:
    ways: dict[int, str] = {}
    for server in SENDING:
        port = free_port(ways)
        ways[port] = passing(port, f"127.0.0.1:{relay.proxied_tls}", server)
    async with haproxy(tmp_path, "".join(ways.values()), *ways):
        for port in ways:
            await right(relay, port, PROXY, secure=True)


async def test_behind_nginx_with_a_header(tmp_path: Path, relay: Relay) -> None:
    port = free_port()
    async with nginx(tmp_path, http(site(port, relay.plain)), port):
        await right(relay, port, XFF)


async def test_behind_nginx_with_a_proxy_header(tmp_path: Path, relay: Relay) -> None:
    needed(STREAM)
    port, secure = free_port(), free_port()
    servers = "".join(
        f"server {{ listen [::]:{at} ipv6only=off; proxy_pass 127.0.0.1:{to}; proxy_protocol on; }}"
        for at, to in ((port, relay.proxied), (secure, relay.proxied_tls))
    )
    text = f"load_module {STREAM};\nevents {{}}\nstream {{ {servers} }}\n"
    async with nginx(tmp_path, text, port, secure):
        await right(relay, port, PROXY)
        await right(relay, secure, PROXY, secure=True)


async def test_two_proxies_deep(tmp_path: Path, relay: Relay) -> None:
    inner, told, outer, outside = (free_port() for _ in range(4))
    sections = forwarding(inner, relay.plain) + passing(told, f"127.0.0.1:{relay.proxied}")
    bound = f"proxy_bind {OUTER};"
    sites = site(outer, inner, bound), site(outside, told, bound)
    async with (
        haproxy(tmp_path, sections, inner, told),
        nginx(tmp_path, http(*sites), outer, outside),
    ):
        # nginx -> HAProxy -> relay, each adding to X-Forwarded-For.
        await right(relay, outer, XFF)
        # A PROXY header names nginx, and X-Forwarded-For of nginx names the client.
        await right(relay, outside, XFF)


async def test_two_proxies_deep_the_other_way_round(tmp_path: Path, relay: Relay) -> None:
    inner, outer = free_port(), free_port()
    section = forwarding(outer, inner, server=f"source {OUTER}")
    async with (
        nginx(tmp_path, http(site(inner, relay.plain)), inner),
        haproxy(tmp_path, section, outer),
    ):
        await right(relay, outer, XFF)


async def test_both_families(tmp_path: Path, upstream: Upstream) -> None:
    """IPv6 clients through every front: here ::1 is a client's, and no proxy's."""
    file = tmp_path / "relay.yaml"
    running = RunningRelay(tmp_path, upstream.url)
    file.write_text(file.read_text().replace(', "::1"]', "]"))
    file.write_text(file.read_text().replace(f'["{SENDER}"]', f'["{SENDER}", "::1"]'))
    async with running as relay:
        assert await seen(relay, relay.six, "::1", "::1") == (200, "::1", PEER)
        header, told, site_port = free_port(), free_port(), free_port()
        sections = forwarding(header, relay.plain)
        sections += passing(told, f"127.0.0.1:{relay.proxied}", "send-proxy")
        async with (
            haproxy(tmp_path, sections, header, told),
            nginx(tmp_path, http(site(site_port, relay.plain)), site_port),
        ):
            for port, via in ((header, XFF), (told, PROXY), (site_port, XFF)):
                assert await seen(relay, port, "::1", "::1") == (200, "::1", via)
                await right(relay, port, via)


async def test_forwarded(tmp_path: Path, upstream: Upstream) -> None:
    # Both spellings of RFC 7239: of an IPv4 address, and of any.
    adding = 'http-request add-header Forwarded "for=%[src];proto=http"'
    quoted = "http-request add-header Forwarded 'by=_x;for=\"%[src]\"'"
    element = """map $remote_addr $element {
    ~^[0-9.]+$ "for=$remote_addr"; ~^::ffff:([0-9.]+)$ "for=$1"; default "for=unknown"; }
"""
    async with RunningRelay(tmp_path, upstream.url, "Forwarded") as relay:
        ports = [free_port() for _ in range(3)]
        sections = forwarding(ports[0], relay.plain, adding).replace(":::", "127.0.0.1:")
        sections = sections.replace(" v4v6", "")
        sections += forwarding(ports[1], relay.plain, quoted)
        own = site(ports[2], relay.plain, 'proxy_set_header Forwarded "$element";')
        async with (
            haproxy(tmp_path, sections, *ports[:2]),
            nginx(tmp_path, http(own, more=element), ports[2]),
        ):
            for port in ports:
                await right(relay, port, FORWARDED)
