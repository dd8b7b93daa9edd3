"""A sender moves to a new address while a stranger uses up the early look-ups."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.nameserver import BrokenNameserver, gives
from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange

OLD, NEW, STRANGER = "104.45.17.199", "40.91.239.1", "203.0.113.66"
OTHER = "51.103.12.9"


@pytest.fixture
async def nameserver() -> AsyncIterator[BrokenNameserver]:
    async with BrokenNameserver() as server:
        server.both(gives(OLD))
        yield server


def moving(directory: Path, upstream: str, nameserver: BrokenNameserver, refresh: str) -> Path:
    """Write a configuration whose Midtrans sends from a host name."""
    text = configuration(upstream).replace(
        "    upstream: billing\n",
        "    upstream: billing\n    allowlist: {replace: [hooks.example.com]}\n",
        1,
    )
    text += f"""
dns:
  nameservers: ["127.0.0.1:{nameserver.port}"]
  min_refresh: {refresh}
  max_refresh: {refresh}
  knock_interval: 1h
"""
    file = directory / "relay.yaml"
    file.write_text(text)
    return file


async def status(node: Node, client: str, body: bytes | None = None) -> int:
    raw = midtrans_request(midtrans_body() if body is None else body, client)
    return (await exchange(node.public[0], raw)).status


SIGNED = 'unknown_but_signed_total{endpoint="midtrans"}'


async def test_the_first_message_from_a_new_address_is_taken(
    tmp_path: Path, upstream: Upstream, nameserver: BrokenNameserver
) -> None:
    async with Node(moving(tmp_path, upstream.url, nameserver, "5m"), ENVIRON) as node:
        assert await status(node, OLD) == 200
        # The stranger has used up the look-up of this hour.
        assert await status(node, STRANGER, b"{}") == 403
        nameserver.both(gives(NEW))
        assert await status(node, STRANGER, b"{}") == 403
        assert await status(node, NEW) == 200
        assert await node.metric(SIGNED) == 0
        await upstream.has_received(2)
        assert await node.end() == 0


async def test_what_dns_knows_too_late_is_delivered_by_itself(
    tmp_path: Path, upstream: Upstream, nameserver: BrokenNameserver
) -> None:
    body = midtrans_body()
    async with Node(moving(tmp_path, upstream.url, nameserver, "1s"), ENVIRON) as node:
        assert await status(node, OLD) == 200
        assert await status(node, STRANGER, b"{}") == 403
        assert await status(node, NEW, body) == 403
        assert await status(node, "198.51.100.7", body) == 403
        assert await node.metric(SIGNED) == 1
        nameserver.both(gives(OLD, NEW))
        await upstream.has_received(2)
        released = await node.wait_for(event="refusal_released")
        assert (released["endpoint"], released["client"]) == ("midtrans", NEW)
        assert await status(node, NEW, body) == 200
        assert await node.end() == 0
    assert [body == each.body for each in upstream.received].count(True) == 1


async def test_what_is_long_or_late_of_an_unknown_address_proves_nothing(
    tmp_path: Path, upstream: Upstream, nameserver: BrokenNameserver
) -> None:
    file = moving(tmp_path, upstream.url, nameserver, "5m")
    usual = "limits: {body: 64KiB, header_timeout: 1s, body_timeout: 1s}"
    text = file.read_text()
    assert usual in text
    file.write_text(text.replace(usual, "limits: {body: 256KiB, body_timeout: 1m}"))
    body = midtrans_body()
    head, end, _ = midtrans_request(body, NEW).partition(b"\r\n\r\n")
    length = f"Content-Length: {len(body)}".encode()
    assert length in head
    chunked = head.replace(length, b"Transfer-Encoding: chunked") + end
    async with Node(file, ENVIRON) as node:
        assert await status(node, STRANGER, b"{}") == 403
        nameserver.both(gives(NEW, OTHER))
        # So long that its sender is not looked up, though its signature fits.
        long = body + b" " * (64 * 1024)
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(long), long)
        assert (await exchange(node.public[0], chunked + framed)).status == 403
        # The rest of this one never comes: the answer does, long before the time of others.
        cut_off = midtrans_request(body, OTHER)[:-10]
        late = await exchange(node.public[0], cut_off)
        assert (late.status, late.value("Connection")) == (403, "close")
        assert await node.metric(SIGNED) == 0
        assert await status(node, OTHER) == 200
