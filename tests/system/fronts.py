"""A relay that tells who called, behind Debian's HAProxy and nginx on loopback.

Every address of 127.0.0.0/8 is this machine's, so clients and proxies have addresses of their own.
"""

import asyncio
import os
import signal
import socket
import ssl
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.harness.clock import wait_until
from tests.harness.deliveries import ENVIRON, midtrans_body
from tests.harness.node import Node
from tests.harness.wire import Reply, read_reply, request, self_signed

# ---- the relay ------------------------------------------------------------------------------

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
        self._trust = self_signed(directory, NAME)[1]
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


# ---- HAProxy and nginx ----------------------------------------------------------------------
# Debian's HAProxy and nginx, as they stand in front of a relay.

HAPROXY, NGINX = Path("/usr/sbin/haproxy"), Path("/usr/sbin/nginx")
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

_DEFAULTS = """
global
  nbthread 1
defaults
  timeout connect 5s
  timeout client 20s
  timeout server 20s
"""


def needed(*files: Path) -> None:
    """Skip, loudly, where a front is absent."""
    packages = {HAPROXY: "haproxy", NGINX: "nginx", STREAM: "libnginx-mod-stream"}
    for file in files:
        if not file.exists():
            pytest.skip(f"NOT TESTED behind a real front: {file} is absent ({packages[file]})")


class Front:
    """A running front. `ports` are those that have to be open before it counts as started.

    end: the signal that ends it, and the processes that it has started.
    """

    def __init__(
        self,
        command: tuple[str | Path, ...],
        ports: tuple[int, ...],
        log: Path,
        end: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._command = command
        self._end = end
        self._ports = ports
        self._log = log
        self._process: Process | None = None

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=DEVNULL, stdout=log, stderr=STDOUT, env={**os.environ}
            )
        if (
            not await wait_until(lambda: self._over or all(map(_open, self._ports)), 10)
            or self._over
        ):
            await self._stop()
            raise RuntimeError(f"{self._command[0]} does not serve: {self.output}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    @property
    def _over(self) -> bool:
        assert self._process is not None
        return self._process.returncode is not None

    async def _stop(self) -> None:
        assert self._process is not None
        if not self._over:
            self._process.send_signal(self._end)
            await self._process.wait()


def haproxy(directory: Path, text: str, *ports: int) -> Front:
    """Return HAProxy with these sections; without a `defaults` section of their own, with ours."""
    needed(HAPROXY)
    file = directory / "haproxy.cfg"
    file.write_text(text if "\ndefaults" in text else _DEFAULTS + text)
    return Front((HAPROXY, "-db", "-f", file), ports, directory / "haproxy.log")


def nginx(directory: Path, text: str, *ports: int, reloads: bool = False) -> Front:
    """Return nginx with this whole configuration; it keeps its files in this directory.

    reloads: SIGHUP to the process in `nginx.pid` has it read again, and loses no connection.
    """
    needed(NGINX)
    file = directory / "nginx.conf"
    file.write_text(_own_directory(text, directory))
    master = "on" if reloads else "off"
    own = f"daemon off; master_process {master}; pid {directory}/nginx.pid;"
    command = (NGINX, "-p", directory, "-c", file, "-e", "stderr", "-g", own)
    end = signal.SIGTERM if reloads else signal.SIGKILL
    return Front(command, ports, directory / "nginx.log", end)


def replaced(text: str, changes: Mapping[str, object]) -> str:
    """Return the text with every key replaced; each of them must be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, str(new))
    return text


def _own_directory(text: str, directory: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    return text.replace(
        "\nhttp {", f"\nhttp {{\n  access_log off; client_header_timeout 1s; {paths}"
    )


def _open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
