"""The services of the demo: a name server, an upstream, and secrets made for one run."""

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import dns.message
import dns.rdatatype
import dns.rrset
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.core.secret import Secret

# ---- name server: the same addresses for every name -----------------------------------------

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


# ---- secrets --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """The keys of one sender: its own, the relay's for verifying, and a wrong one."""

    signing: Secret
    verifying: str
    forged: Secret


def shared() -> Pair:
    """Return a shared secret."""
    secret = secrets.token_urlsafe(24)
    return Pair(Secret(secret), secret, Secret(secrets.token_urlsafe(24)))


def standard_webhooks() -> Pair:
    """Return a shared secret in the notation of Standard Webhooks."""
    signing, forged = (f"whsec_{b64encode(secrets.token_bytes(24)).decode()}" for _ in range(2))
    return Pair(Secret(signing), signing, Secret(forged))


def asymmetric() -> Pair:
    """Return an RSA key: the private half signs, the public half verifies."""
    private, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Pair(_pem(private), public.decode(), _pem(other))


def _pem(key: rsa.RSAPrivateKey) -> Secret:
    return Secret(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


# ---- upstream: accepts and records every event ----------------------------------------------


class Sink:
    """An HTTP server on a free loopback port that answers 200 to everything."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._arrival = asyncio.Condition()
        self._runner = web.ServerRunner(web.Server(self._take, access_log=None))
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    def count(self, body: bytes) -> int:
        """Return how often exactly this body has arrived."""
        return self.bodies.count(body)

    async def wait_for(self, number: int, within: float) -> None:
        """Return when this many events have arrived, at most after `within` seconds."""
        try:
            async with asyncio.timeout(within), self._arrival:
                await self._arrival.wait_for(lambda: len(self.bodies) >= number)
        except TimeoutError:
            return

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        async with self._arrival:
            self.bodies.append(body)
            self._arrival.notify_all()
        return web.Response(text="thank you")
