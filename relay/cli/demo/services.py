"""The DNS server of the demo: gives the same addresses for every name."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self, cast

import dns.message
import dns.rdatatype
import dns.rrset

_TTL = 60


class Nameserver:
    """A DNS server over UDP on a free loopback port."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._transport: asyncio.DatagramTransport | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Answering(self._addresses), local_addr=("127.0.0.1", 0)
        )
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._transport is not None:
            self._transport.close()


class _Answering(asyncio.DatagramProtocol):
    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own transport is one in all but its type.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query, recursion_available=True)
        for question in query.question:
            if question.rdtype == dns.rdatatype.A:
                answer.answer.append(
                    dns.rrset.from_text(question.name, _TTL, "IN", "A", *self._addresses)
                )
        if self._transport is not None:
            self._transport.sendto(answer.to_wire(), addr)
