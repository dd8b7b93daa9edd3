"""Certificates of and for an upstream are exchanged under load: each event arrives all the same.

The upstream is a real nginx that demands a client certificate and logs its serial number.
"""

import asyncio
import os
import shutil
import signal
import ssl
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.core.clock import SystemClock
from tests.crash.lengths import lengths, tell
from tests.harness.authority import Authority, Pair
from tests.harness.clock import wait_until
from tests.harness.deliveries import BEARER, ENVIRON, midtrans_body, midtrans_request
from tests.harness.node import Node
from tests.harness.ports import free_port
from tests.harness.wire import exchange, read_reply, request
from tests.system.fronts import Front, nginx

pytestmark = [pytest.mark.debian, pytest.mark.proof]

NAME = "billing.internal"

#: Seconds after an exchange in which attempts may end that were under way.
_UNDER_WAY = 0.5

ENDPOINT = """
  - name: {mode}
    path: /{mode}
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstream: billing
    mode: {mode}"""


@dataclass(frozen=True, slots=True)
class Logged:
    """One request as nginx has logged it."""

    at: float
    serial: int
    event: str
    endpoint: str
    status: int


class Upstream:
    """nginx with a certificate of its own, which lets in those that `clients` has issued."""

    def __init__(self, directory: Path, clients: Authority) -> None:
        self.port = free_port()
        self._log = directory / "requests.log"
        self._pair = directory / "server.crt", directory / "server.key"
        self._pid = directory / "nginx.pid"
        self._text = f"""
events {{}}
http {{
  log_format serials '$msec $ssl_client_serial $http_webhook_id $http_relay_endpoint $status';
  server {{
    listen 127.0.0.1:{self.port} ssl;
    access_log {self._log} serials;
    keepalive_requests 50;
    ssl_certificate {self._pair[0]};
    ssl_certificate_key {self._pair[1]};
    ssl_client_certificate {clients.file};
    ssl_verify_client on;
    location / {{ return 200; }}
  }}
}}
"""
        self._directory = directory

    def front(self, pair: Pair) -> Front:
        self._put(pair)
        return nginx(self._directory, self._text, self.port, reloads=True)

    async def renew(self, pair: Pair) -> None:
        """Serve with another pair from here on; connections keep theirs."""
        self._put(pair)
        os.kill(int(self._pid.read_text()), signal.SIGHUP)
        # Those that served before take connections, too, until they are told to end.
        assert await wait_until(lambda: all(self._shows(pair) for _ in range(16)), 10)

    def _shows(self, pair: Pair) -> bool:
        shown = ssl.get_server_certificate(("127.0.0.1", self.port))
        return ssl.PEM_cert_to_DER_cert(shown) == pair.der

    def _put(self, pair: Pair) -> None:
        shutil.copy(pair.certificate, self._pair[0])
        shutil.copy(pair.key, self._pair[1])

    def requests(self) -> Iterator[Logged]:
        for line in self._log.read_text().splitlines():
            at, serial, event, endpoint, status = line.split()
            yield Logged(float(at), int(serial, 16), event, endpoint, int(status))


@dataclass
class Senders:
    """Providers that send as fast as they are answered."""

    address: tuple[str, int]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: int = 0
    passed: int = 0
    put_off: int = 0

    async def store(self) -> None:
        reader, writer = await asyncio.open_connection(*self.address)
        while not self.over.is_set():
            writer.write(_message("store"))
            reply = await read_reply(reader)
            assert reply.status == 200, reply
            self.acknowledged += 1
        writer.close()

    async def proxy(self) -> None:
        reader, writer = await asyncio.open_connection(*self.address)
        while not self.over.is_set():
            writer.write(_message("proxy"))
            reply = await read_reply(reader)
            assert reply.status in {200, 502}, reply
            self.passed += reply.status == 200
            self.put_off += reply.status == 502
        writer.close()


def _message(mode: str) -> bytes:
    raw = midtrans_request(midtrans_body())
    return raw.replace(b"/midtrans/notification", f"/{mode}".encode())


class Exchanging:
    """Exchanges what a relay calls its upstream with, and the upstream's own.

    replaced: each serial number that was shown until then, and when its end was noticed.
    """

    def __init__(self, node: Node, directory: Path, upstream: Upstream) -> None:
        self._node = node
        self._directory = directory
        self._upstream = upstream
        self._authorities = 0
        self.replaced: list[tuple[int, float]] = []

    async def client(self, clients: Authority, shown: Pair) -> Pair:
        """Show another client certificate; return its pair. Half of it is not taken."""
        pair = clients.issue("relay")
        _replace(pair.certificate, self._directory / "client.crt")
        assert await self._reload() == 422
        _replace(pair.key, self._directory / "client.key")
        assert await self._reload() == 200
        self.replaced.append((shown.serial, SystemClock().now().timestamp()))
        return pair

    async def authority(self, present: Authority, *, hard: bool) -> Authority:
        """Have the upstream's certificate from another authority; return that.

        hard: it is served before it is trusted; otherwise both are trusted meanwhile.
        """
        self._authorities += 1
        coming = Authority(self._directory, f"authority-{self._authorities}")
        ca = self._directory / "ca.pem"
        if not hard:
            both = self._directory / "both.pem"
            both.write_bytes(present.file.read_bytes() + coming.file.read_bytes())
            _replace(both, ca)
            assert await self._reload() == 200
        failed = self._distrusted()
        await self._upstream.renew(coming.issue(NAME))
        if hard:
            await self._node.wait_for(failed + 1, event="attempt", cause="tls: unknown CA")
        _replace(coming.file, ca)
        assert await self._reload() == 200
        if not hard:
            assert self._distrusted() == failed
        return coming

    def _distrusted(self) -> int:
        return len(self._node.having(event="attempt", cause="tls: unknown CA"))

    async def _reload(self) -> int:
        return (await exchange(self._node.admin, request("POST", "/-/reload", [BEARER]))).status


def _replace(source: Path, target: Path) -> None:
    """Put a copy in a file's place at once."""
    copy = target.with_suffix(".new")
    shutil.copy(source, copy)
    copy.rename(target)


@lengths(short=8, long=200)
async def test_each_event_arrives_and_none_by_an_old_certificate(
    times: int, tmp_path: Path
) -> None:
    clients, own = Authority(tmp_path, "clients"), Authority(tmp_path, "own")
    shown = clients.issue("relay")
    shutil.copy(shown.certificate, tmp_path / "client.crt")
    shutil.copy(shown.key, tmp_path / "client.key")
    shutil.copy(own.file, tmp_path / "ca.pem")
    upstream = Upstream(tmp_path, clients)
    config = tmp_path / "relay.yaml"
    config.write_text(f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0", token: "${{env:RELAY_ADMIN_TOKEN}}"}}
upstreams:
  billing:
    url: "https://127.0.0.1:{upstream.port}"
    tls: {{ca: ca.pem, certificate: client.crt, key: client.key, server_name: {NAME}}}
    retry: {{schedule: [50ms]}}
endpoints:{"".join(ENDPOINT.format(mode=mode) for mode in ("store", "proxy"))}
""")
    async with (
        upstream.front(own.issue(NAME)),
        Node(config, ENVIRON) as node,
    ):
        senders = Senders(node.public[0])
        exchanging = Exchanging(node, tmp_path, upstream)
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(senders.store())
            group.create_task(senders.proxy())
            for number in range(times):
                enough = senders.acknowledged + 200
                match number % 4:
                    case 0 | 2:
                        shown = await exchanging.client(clients, shown)
                    case 1:
                        own = await exchanging.authority(own, hard=False)
                    case _:
                        own = await exchanging.authority(own, hard=True)
                assert await wait_until(lambda: senders.acknowledged >= enough, 30)  # noqa: B023 - it is over before the next
            senders.over.set()
        assert await wait_until(lambda: len(_stored(upstream)) >= senders.acknowledged, 30)
        assert await node.end() == 0
        assert node.noise == []
        lines = node.having(event="attempt")
    # nginx ends connections when it is told to read its files again, also busy ones.
    causes = Counter(line.get("cause") for line in lines)
    assert set(causes) <= {None, "tls: unknown CA", "closed", "reset"}
    requests = list(upstream.requests())
    assert {each.status for each in requests} == {200}
    assert len(_stored(upstream)) == senders.acknowledged
    late = 0
    for serial, noticed in exchanging.replaced:
        after = [each.at - noticed for each in requests if each.serial == serial]
        late = max(late, sum(each > 0 for each in after))
        assert max(after) < _UNDER_WAY
    assert len({each.serial for each in requests}) == len(exchanging.replaced) + 1
    tell(
        exchanges=times,
        acknowledged=senders.acknowledged,
        passed=senders.passed,
        put_off=senders.put_off,
        requests=len(requests),
        causes=dict(causes),
        under_way_at_most=late,
    )


def _stored(upstream: Upstream) -> set[str]:
    return {each.event for each in upstream.requests() if each.endpoint == "store"}
