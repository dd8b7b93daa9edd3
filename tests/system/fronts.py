"""A relay that tells who called, behind fronts on loopback.

Every address of 127.0.0.0/8 is this machine's, so clients and proxies have addresses of their own.
"""

import asyncio
import signal
import ssl
from dataclasses import dataclass
from pathlib import Path

from tests.harness.certified import certified
from tests.harness.node import Node
from tests.harness.wire import Reply, read_reply, request
from tests.system.conftest import ENVIRON
from tests.system.messages import midtrans_body

#: A sender that is allowed, one that is not, and where the outer of two proxies connects from.
SENDER, STRANGER, OUTER = "127.7.7.7", "127.6.6.6", "127.0.0.2"
NAME = "pay.example.com"


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay with the port of each of its listeners."""

    node: Node
    plain: int
    proxied: int
    proxied_tls: int
    six: int
    proxied_six: int
    trust: ssl.SSLContext


def relay_config(directory: Path, upstream: str, header: str = "X-Forwarded-For") -> Path:
    """Write a configuration with listeners of every kind, and a certificate for `NAME`."""
    file = directory / "relay.yaml"
    file.write_text(f"""
listen:
  - bind: "127.0.0.1:0"
  - bind: "127.0.0.1:0"
    proxy_protocol: true
  - bind: "127.0.0.1:0"
    proxy_protocol: true
    tls: {{certificate: certificate.pem, key: certificate.pem}}
  - bind: "[::1]:0"
  - bind: "[::1]:0"
    proxy_protocol: true
trusted_proxies: ["127.0.0.1", "{OUTER}", "::1"]
forwarded_header: {header}
limits: {{connections_per_address: 100, header_timeout: 2s, body_timeout: 2s}}
admin: {{bind: "127.0.0.1:0"}}
upstreams: {{billing: {{url: "{upstream}/hooks"}}}}
endpoints:
  - name: midtrans
    path: /midtrans/notification
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstream: billing
    allowlist: {{replace: ["{SENDER}"]}}
""")
    return file


class RunningRelay:
    """A relay with such a configuration, for as long as it is needed."""

    def __init__(self, directory: Path, upstream: str, header: str = "X-Forwarded-For") -> None:
        self._trust = certified(directory, NAME)[1]
        self._node = Node(relay_config(directory, upstream, header), ENVIRON)

    async def __aenter__(self) -> Relay:
        node = await self._node.__aenter__()
        plain, proxied, proxied_tls, six, proxied_six = (port for _, port in node.public)
        return Relay(node, plain, proxied, proxied_tls, six, proxied_six, self._trust)

    async def __aexit__(self, *_: object) -> None:
        await self._node.end(signal.SIGKILL)


def message() -> bytes:
    """Return a genuine delivery, which anybody could have overheard."""
    fields = [("Content-Type", "application/json"), ("Host", NAME)]
    return request("POST", "/midtrans/notification", fields, midtrans_body())


async def send(
    port: int,
    raw: bytes,
    came_from: str = SENDER,
    to: str = "127.0.0.1",
    trust: ssl.SSLContext | None = None,
    *,
    answers: int = 1,
) -> Reply:
    """Send bytes from one of our addresses, and return the last of so many answers.

    No answer at all reads as status 0.
    """
    reply = Reply(0, "", b"")
    try:
        reader, writer = await asyncio.open_connection(
            to, port, local_addr=(came_from, 0), ssl=trust, server_hostname=trust and NAME
        )
    except ConnectionError:
        return reply
    try:
        writer.write(raw)
        for _ in range(answers):
            reply = await read_reply(reader)
    except (ConnectionError, asyncio.IncompleteReadError):
        return Reply(0, "", b"")
    finally:
        writer.close()
    return reply


async def seen(
    relay: Relay,
    port: int,
    came_from: str = SENDER,
    to: str = "127.0.0.1",
    trust: ssl.SSLContext | None = None,
) -> tuple[int, str | None, str | None]:
    """Send a message through this port; return its status, and who the relay took us for."""
    before = len(relay.node.having(event="delivery"))
    reply = await send(port, message(), came_from, to, trust)
    line = await relay.node.wait_for(before + 1, event="delivery")
    return reply.status, line.get("client"), line.get("client_via")
