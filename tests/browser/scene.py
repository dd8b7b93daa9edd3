"""A relay at work: its configuration, two upstreams and a name server around it."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.browser.filling import fill
from tests.harness.deliveries import ENVIRON, MIDTRANS, midtrans_request
from tests.harness.nameserver import BrokenNameserver, gives
from tests.harness.node import Node
from tests.harness.ports import free_port
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange

TOKEN: Final = ENVIRON["RELAY_ADMIN_TOKEN"]

#: Where the hosts of Vipps are.
VIPPS_ADDRESSES: Final = ("104.45.17.199", "51.105.122.50", "51.105.193.245")


def configuration(
    upstream: str, ledger: str, *, admin_port: int, dns_port: int, key: str | None = None
) -> str:
    """Return a configuration on loopback; a trusted proxy there tells the client's address."""
    secret = json.dumps("${env:MIDTRANS_SERVER_KEY}" if key is None else key)
    return f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:{admin_port}", token: "${{env:RELAY_ADMIN_TOKEN}}"}}
spool: {{path: relay.db}}
dns: {{nameservers: ["127.0.0.1:{dns_port}"]}}
shutdown_grace: 2s
upstreams:
  billing:
    url: "{upstream}/hooks"
    timeout: 2s
    retry: {{schedule: [10m]}}
  ledger:
    url: "{ledger}/entries"
    timeout: 2s
endpoints:
  - name: midtrans
    path: /midtrans/notification
    provider: midtrans
    environment: sandbox
    secrets: [{secret}]
    upstream: billing
  - name: vipps
    path: /vipps/events
    provider: vipps
    environment: test
    secrets: ["${{env:VIPPS_SECRET}}"]
    upstream: ledger
"""


class Scene:
    """A running relay with all that it needs around it.

    node: the relay. upstream, ledger: what it delivers to. config: its file.
    """

    def __init__(self, directory: Path, *, events: int = 0, key: str | None = None) -> None:
        """Take the number of events that its spool holds at first, and the key of Midtrans."""
        self.config = directory / "relay.yaml"
        self._events = events
        self._key = key
        self._stack = AsyncExitStack()
        self._admin_port = free_port()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.upstream = await stack.enter_async_context(Upstream())
            self.ledger = await stack.enter_async_context(Upstream())
            self.nameserver = await stack.enter_async_context(BrokenNameserver())
            self.nameserver.on["A"] = gives(*VIPPS_ADDRESSES)
            self.write(self._key)
            if self._events:
                await asyncio.to_thread(fill, self.config, self._events)
            self.node = await stack.enter_async_context(Node(self.config, ENVIRON))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where its pages are."""
        return self.node.admin_url

    def write(self, key: str | None = None) -> None:
        """Write its configuration, with this key of Midtrans; None: the one that fits."""
        text = configuration(
            self.upstream.url,
            self.ledger.url,
            admin_port=self._admin_port,
            dns_port=self.nameserver.port,
            key=key,
        )
        self.config.write_text(text)

    async def start_again(self) -> None:
        """Start a relay where the one before has stopped."""
        self.node = await self._stack.enter_async_context(Node(self.config, ENVIRON))

    async def send(self, body: bytes, client: str = MIDTRANS) -> int:
        """Send a notification of Midtrans; return the status that it was answered with."""
        return (await exchange(self.node.public[0], midtrans_request(body, client))).status
