"""Name servers on loopback: one that misbehaves on order, and Debian's nsd."""

import asyncio
import os
import signal
import socket
import ssl
import struct
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Literal, Self, cast

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype
from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, A, DNSError, DNSHeader, DNSQuestion, DNSRecord

# ---- misbehaving ----------------------------------------------------------------------------

Transport = Literal["udp", "tcp"]
Behaviour = Callable[[DNSRecord, Transport], Sequence[bytes]]
"""What is sent back for one question: any number of messages, none for silence."""

LOOPBACK = "127.0.0.1"


def _reply(request: DNSRecord, rcode: str = "NOERROR") -> DNSRecord:
    reply = request.reply(ra=1, aa=0)
    reply.header.rcode = getattr(RCODE, rcode)
    return reply


def _record(owner: object, address: str, ttl: int) -> RR:
    if isinstance(ip_address(address), IPv4Address):
        return RR(owner, QTYPE.A, ttl=ttl, rdata=A(address))
    return RR(owner, QTYPE.AAAA, ttl=ttl, rdata=AAAA(tuple(ip_address(address).packed)))


def _pack(reply: DNSRecord, transport: Transport) -> bytes:
    """Truncate over UDP what does not fit, as servers do."""
    wire = bytes(reply.pack())
    return wire if transport == "tcp" or len(wire) <= 1232 else bytes(reply.truncate().pack())


# ---- behaviours: each is one server that is well or broken in one way --------------------------


def gives(*addresses: str, ttl: int = 60, chain: Sequence[tuple[str, int]] = ()) -> Behaviour:
    """Answer with these addresses, at the end of a chain of (alias, TTL of the step to it)."""

    def behave(request: DNSRecord, transport: Transport) -> Sequence[bytes]:
        reply, owner = _reply(request), request.q.qname
        for alias, step_ttl in chain:
            reply.add_answer(RR(owner, QTYPE.CNAME, ttl=step_ttl, rdata=CNAME(alias)))
            owner = alias
        for address in addresses:
            reply.add_answer(_record(owner, address, ttl))
        return [_pack(reply, transport)]

    return behave


def floods(count: int, first: str) -> Behaviour:
    """Answer with this many IPv4 addresses in a row; over UDP that is truncated."""
    start = int(IPv4Address(first))

    def behave(request: DNSRecord, transport: Transport) -> Sequence[bytes]:
        if transport == "udp":
            return truncated()(request, transport)
        # By hand, because dnslib takes longer over it than a resolver waits.
        head = bytearray(_reply(DNSRecord(request.header, q=request.q)).pack())
        struct.pack_into("!H", head, 6, count)
        record = struct.Struct("!HHHLHL")  # the owner is a pointer to the question
        tail = (record.pack(0xC00C, QTYPE.A, 1, 60, 4, start + number) for number in range(count))
        return [bytes(head) + b"".join(tail)]

    return behave


def answers_code(rcode: str) -> Behaviour:
    """Answer with nothing but a code such as SERVFAIL."""
    return lambda request, _: [bytes(_reply(request, rcode).pack())]


def silent(_request: DNSRecord, _transport: Transport) -> Sequence[bytes]:
    return []


def hangs_up(_request: DNSRecord, transport: Transport) -> Sequence[bytes]:
    if transport == "tcp":
        raise ConnectionAbortedError
    return []


def garbage(_request: DNSRecord, _transport: Transport) -> Sequence[bytes]:
    return [b"\xff" * 40, b"", b"\x00"]


def garbled(*addresses: str) -> Behaviour:
    """Answer with the right header and question, and an answer section that breaks off."""

    def behave(request: DNSRecord, transport: Transport) -> Sequence[bytes]:
        return [message[:-3] for message in gives(*addresses)(request, transport)]

    return behave


def truncates(*addresses: str, over_tcp: Behaviour) -> Behaviour:
    """Set the TC bit over UDP, with a part of the answer; answer over TCP as told."""

    def behave(request: DNSRecord, transport: Transport) -> Sequence[bytes]:
        if transport == "tcp":
            return over_tcp(request, transport)
        return truncated(*addresses)(request, transport)

    return behave


def truncated(*addresses: str) -> Behaviour:
    """Set the TC bit over whichever transport is asked."""

    def behave(request: DNSRecord, _: Transport) -> Sequence[bytes]:
        reply = _reply(request)
        for address in addresses:
            reply.add_answer(_record(request.q.qname, address, 60))
        reply.header.tc = 1
        return [bytes(reply.pack())]

    return behave


def cname_loop(request: DNSRecord, _: Transport) -> Sequence[bytes]:
    reply = _reply(request)
    reply.add_answer(RR(request.q.qname, QTYPE.CNAME, ttl=60, rdata=CNAME("loop.example")))
    reply.add_answer(RR("loop.example", QTYPE.CNAME, ttl=60, rdata=CNAME(request.q.qname)))
    return [bytes(reply.pack())]


def wrong_id(*addresses: str, then: Behaviour = silent) -> Behaviour:
    """Send a forged answer that guessed the id wrong, then what comes from the real server."""

    def behave(request: DNSRecord, transport: Transport) -> Sequence[bytes]:
        honest = then(request, transport)
        header = request.header
        request.header = DNSHeader(id=header.id ^ 0x5555, bitmap=header.bitmap)
        forged = gives(*addresses)(request, transport)
        request.header = header
        return [*forged, *honest]

    return behave


def wrong_question(*addresses: str) -> Behaviour:
    """Answer another question than the one that was asked, with the right id."""

    def behave(request: DNSRecord, _: Transport) -> Sequence[bytes]:
        other = DNSQuestion("other.example", request.q.qtype)
        reply = DNSRecord(DNSHeader(id=request.header.id, qr=1, ra=1), q=other)
        for address in addresses:
            reply.add_answer(_record("other.example", address, 60))
        return [bytes(reply.pack())]

    return behave


def other_owner(*addresses: str) -> Behaviour:
    """Repeat the question, and answer with addresses of another name."""

    def behave(request: DNSRecord, _: Transport) -> Sequence[bytes]:
        reply = _reply(request)
        for address in addresses:
            reply.add_answer(_record("other.example", address, 60))
        return [bytes(reply.pack())]

    return behave


# ---- the server -------------------------------------------------------------------------------


class BrokenNameserver:
    """Behaves for A and AAAA as it is told, and can be told otherwise at any time.

    asked: every question as (name, type, transport), in order.
    hold: while it is cleared, questions arrive and answers wait.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.on: dict[str, Behaviour] = {
            "A": answers_code("NOERROR"),
            "AAAA": answers_code("NOERROR"),
        }
        self.asked: list[tuple[str, str, Transport]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.port = 0
        self._tls = tls
        self._arrival = asyncio.Condition()
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()

    def both(self, behaviour: Behaviour) -> None:
        self.on = {"A": behaviour, "AAAA": behaviour}

    async def questions(self, count: int) -> None:
        """Wait until this many questions have arrived."""
        async with asyncio.timeout(10), self._arrival:
            await self._arrival.wait_for(lambda: len(self.asked) >= count)

    async def __aenter__(self) -> Self:
        server = await asyncio.start_server(self._talk, LOOPBACK, 0, ssl=self._tls)
        self._stack.callback(server.close)
        self.port = server.sockets[0].getsockname()[1]
        if self._tls is None:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=(LOOPBACK, self.port)
            )
            self._stack.callback(transport.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    def start(self, transport: asyncio.DatagramTransport, wire: bytes, sender: object) -> None:
        task = asyncio.get_running_loop().create_task(self._datagram(transport, wire, sender))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _datagram(
        self, transport: asyncio.DatagramTransport, wire: bytes, sender: object
    ) -> None:
        for message in await self._answer(wire, "udp"):
            transport.sendto(message, sender)  # type: ignore[arg-type]  # as it was received

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(2))
            messages = await self._answer(await reader.readexactly(length), "tcp")
            for message in messages:
                writer.write(len(message).to_bytes(2) + message)
            await writer.drain()
            if not messages:
                await reader.read()  # silence is an open connection; the client gives up
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, wire: bytes, transport: Transport) -> Sequence[bytes]:
        try:
            request = DNSRecord.parse(wire)
        except DNSError:
            return []
        kind = QTYPE[request.q.qtype]
        async with self._arrival:
            self.asked.append((str(request.q.qname), kind, transport))
            self._arrival.notify_all()
        await self.hold.wait()
        return self.on[kind](request, transport)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: BrokenNameserver) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The event loop's class does not derive from the one it stands for.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._server.start(self._transport, data, addr)


# ---- Debian's nsd ---------------------------------------------------------------------------

PROGRAM = Path("/usr/sbin/nsd")

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
