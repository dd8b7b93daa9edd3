"""Debian's name server `nsd`, with a zone that can be edited while it runs."""

import asyncio
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype

PROGRAM = Path("/usr/sbin/nsd")
LOOPBACK = "127.0.0.1"

_CONFIGURATION = """
server:
  ip-address: {address}@{port}
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{directory}"
  xfrdir: "{directory}"
  xfrdfile: "{directory}/xfrd.state"
  zonelistfile: "{directory}/zone.list"
  pidfile: "{directory}/nsd.pid"
  logfile: "{directory}/nsd.log"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: {zone}
  zonefile: zone
"""


class Nsd:
    """An authoritative server for one zone.

    `async with Nsd(directory, "example.org") as nsd: await nsd.publish("a 60 IN A ...")`
    """

    def __init__(self, directory: Path, zone: str) -> None:
        self.zone = zone
        self.port = 0
        self._directory = directory
        self._serial = 0
        self._process: Process | None = None

    async def publish(self, records: str) -> None:
        """Replace the records of the zone; they are being served when this returns."""
        assert self._process is not None
        # While it reloads, the old server process still answers now and then.
        old = [server for main in _children(self._process.pid) for server in _children(main)]
        self._write(records)
        self._process.send_signal(signal.SIGHUP)
        await self._until_served(old)

    async def __aenter__(self) -> Self:
        self.port = _free_port()
        configuration = self._directory / "nsd.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                address=LOOPBACK, port=self.port, directory=self._directory, zone=self.zone
            )
        )
        self._write("")
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM, "-d", "-c", configuration, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        try:
            await self._until_served([])
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop the server; a DNS outage. Can be called twice."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def _write(self, records: str) -> None:
        self._serial += 1
        zone = self._directory / "zone"
        zone.write_text(
            f"$ORIGIN {self.zone}.\n"
            f"@ 300 IN SOA ns hostmaster {self._serial} 3600 600 86400 60\n"
            f"@ 300 IN NS ns\nns 300 IN A 127.0.0.1\n{records}\n"
        )
        # nsd rereads a zone when the file's time has moved; two edits may share a clock tick.
        os.utime(zone, ns=(self._serial * 10**9, self._serial * 10**9))

    async def _until_served(self, old: Sequence[int]) -> None:
        question = dns.message.make_query(self.zone, dns.rdatatype.SOA)
        async with asyncio.timeout(10):
            while True:
                with suppress(dns.exception.DNSException, OSError):
                    reply = await dns.asyncquery.udp(question, LOOPBACK, 0.05, self.port)
                    served = reply.answer and reply.answer[0][0].serial == self._serial
                    if served and not _any_alive(old):
                        return
                self._must_be_alive()

    def _must_be_alive(self) -> None:
        if self._process is None or self._process.returncode is not None:
            log = self._directory / "nsd.log"
            raise RuntimeError(f"nsd ended: {log.read_text() if log.exists() else 'no log'}")


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _any_alive(pids: Sequence[int]) -> bool:
    return any(Path(f"/proc/{pid}").exists() for pid in pids)


def _free_port() -> int:
    """Return a port that is free for UDP and TCP at this moment."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        tcp.bind((LOOPBACK, 0))
        port = int(tcp.getsockname()[1])
        udp.bind((LOOPBACK, port))
        return port
