"""Debian's HAProxy and nginx, as they stand in front of a relay."""

import asyncio
import os
import socket
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from random import sample
from types import TracebackType
from typing import Self

import pytest

from tests.harness.until import until

HAPROXY, NGINX = Path("/usr/sbin/haproxy"), Path("/usr/sbin/nginx")
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

# Below those that Linux gives to outgoing connections.
_OWN_PORTS = range(20000, 32000)

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


def free_port(taken: Container[int] = ()) -> int:
    """Return a port that is free on every address, and that no outgoing connection will take.

    taken: ports that were chosen already.
    """
    for port in sample(_OWN_PORTS, len(_OWN_PORTS)):
        if port in taken:
            continue
        with (
            suppress(OSError),
            socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True),
        ):
            return port
    raise RuntimeError("no port is free")


class Front:
    """A running front. `ports` are those that have to be open before it counts as started."""

    def __init__(self, command: tuple[str | Path, ...], ports: tuple[int, ...], log: Path) -> None:
        self._command = command
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
        if not await until(lambda: self._over or all(map(_open, self._ports)), 10) or self._over:
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
            self._process.kill()
            await self._process.wait()


def haproxy(directory: Path, text: str, *ports: int) -> Front:
    """Return HAProxy with these sections; without a `defaults` section of their own, with ours."""
    needed(HAPROXY)
    file = directory / "haproxy.cfg"
    file.write_text(text if "\ndefaults" in text else _DEFAULTS + text)
    return Front((HAPROXY, "-db", "-f", file), ports, directory / "haproxy.log")


def nginx(directory: Path, text: str, *ports: int) -> Front:
    """Return nginx with this whole configuration; it keeps its files in this directory."""
    needed(NGINX)
    file = directory / "nginx.conf"
    file.write_text(_own_directory(text, directory))
    own = f"daemon off; master_process off; pid {directory}/nginx.pid;"
    command = (NGINX, "-p", directory, "-c", file, "-e", "stderr", "-g", own)
    return Front(command, ports, directory / "nginx.log")


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
