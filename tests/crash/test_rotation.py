"""Certificates are exchanged under load: no connection is lost, and new ones see the new one."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trustme

from tests.crash.lengths import dice, lengths, tell
from tests.crash.relays import lives, message
from tests.harness.deliveries import BEARER, ENVIRON, midtrans_body
from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, read_reply, request

NAME = "pay.example.com"


#: Messages on one connection at most.
_ON_ONE = 20


@dataclass
class Senders:
    """Providers that check the certificate, on connections that they keep and on new ones."""

    address: tuple[str, int]
    client: ssl.SSLContext
    dice: Random
    over: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    acknowledged: int = 0

    async def send(self) -> None:
        """Send until it is over.

        Raises:
            AssertionError, OSError: a message was not acknowledged, or a connection was lost.
        """
        while not self.over.is_set():
            reader, writer = await self._connect()
            for _ in range(self.dice.randint(1, _ON_ONE)):
                writer.write(message(midtrans_body()))
                reply = await read_reply(reader)
                assert reply.status == 200, reply
                self.acknowledged += 1
            writer.close()

    async def shown(self) -> bytes:
        """Return the certificate that a new connection is shown."""
        _, writer = await self._connect()
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        assert isinstance(found, bytes)
        return found

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.connections += 1
        return await asyncio.open_connection(*self.address, ssl=self.client, server_hostname=NAME)


class Files:
    """The certificate and key of a listener."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.certificate = directory / "fullchain.pem"
        self.key = directory / "privkey.pem"

    def issue(self, *, halfway: bool = False) -> bytes:
        """Put a new pair there, or half of it; return the certificate."""
        leaf = self.authority.issue_cert(NAME)
        (pem,) = leaf.cert_chain_pems
        self.certificate.write_bytes(pem.bytes())
        if not halfway:
            self.key.write_bytes(leaf.private_key_pem.bytes())
        return ssl.PEM_cert_to_DER_cert(pem.bytes().decode())


@lengths(short=10, long=200)
async def test_a_rotation_loses_no_connection(
    times: int, tmp_path: Path, upstream: Upstream
) -> None:
    chance = dice()
    files = Files(tmp_path)
    present = files.issue()
    client = ssl.create_default_context()
    files.authority.configure_trust(client)
    relays = lives(tmp_path, {"billing": upstream.url})
    tls = f', tls: {{certificate: "{files.certificate}", key: "{files.key}"}}}}]'
    relays.next()
    text = relays.config.read_text()
    relays.config.write_text(text.replace('"127.0.0.1:0"}]', f'"127.0.0.1:0"{tls}', 1))
    halves = 0
    async with Node(relays.config, ENVIRON) as node:
        senders = Senders(node.public[0], client, chance)
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(senders.send())
            for number in range(1, times + 1):
                if chance.random() < 0.5:
                    halves += 1
                    files.issue(halfway=True)
                    assert await _look(node) == 422
                    assert await senders.shown() == present
                present = files.issue()
                if number == 1:
                    # Nobody says so: it is seen.
                    await node.wait_for(event="certificate_renewed")
                else:
                    assert await _look(node) == 200
                assert await senders.shown() == present
            senders.over.set()
        metrics = (await exchange(node.admin, request("GET", "/metrics"))).body
        assert b"relay_certificate_expiry_timestamp_seconds{" in metrics
        assert await node.end() == 0
        # Log lines come some time after what they tell; here all are.
        # A look between the two files of a pair may find it whole, and changed once more after.
        assert len(node.having(event="certificate_renewed")) >= times
        assert len(node.having(event="certificate_kept")) >= halves
        assert node.noise == []
    tell(rotations=times, connections=senders.connections, acknowledged=senders.acknowledged)


async def _look(node: Node) -> int:
    """Have the files looked at, and return the status of the answer."""
    return (await exchange(node.admin, request("POST", "/-/reload", [BEARER]))).status
