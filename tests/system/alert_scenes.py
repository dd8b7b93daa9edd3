"""What each alert tells of, done to a running relay: a scene for each, and what fires after it."""

import asyncio
import json
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from relay.core.clock import SystemClock
from tests.harness.deliveries import (
    BEARER,
    ENVIRON,
    MIDTRANS,
    STRANGER,
    configuration,
    midtrans_body,
    midtrans_request,
    vipps_request,
)
from tests.harness.nameserver import BrokenNameserver, gives, silent
from tests.harness.node import Node
from tests.harness.optional_tools import small_volume
from tests.harness.ports import free_port
from tests.harness.upstream import (
    RefusingPort,
    StatusApi,
    Upstream,
    answer,
    hang,
    says,
    status_of,
)
from tests.harness.wire import exchange, request, self_signed, write_pair
from tests.system.fronts import NAME, SENDER, message, send
from tests.system.test_siege import besieged, relay_config

#: An endpoint of Midtrans that asks the status API.
_CONFIRM: Final = "    environment: sandbox\n    confirm: {{with: status, url: {api}, rate: 100}}\n"


@dataclass
class Stage:
    """Where one scene is played: a directory, an upstream, a relay, and what it needs besides.

    fired: waits until an alert fires for this relay.
    """

    directory: Path
    stack: AsyncExitStack
    upstream: Upstream = field(default_factory=Upstream)
    node: Node | None = None

    async def text(self) -> str:
        """Return an ordinary configuration, its upstream started."""
        await self.stack.enter_async_context(self.upstream)
        return configuration(self.upstream.url)

    async def run(self, text: str) -> Node:
        """Start a relay with this configuration."""
        self.file.write_text(text)
        return await self.start()

    async def start(self) -> Node:
        """Start a relay with the file as it is."""
        self.node = await self.stack.enter_async_context(Node(self.file, ENVIRON))
        return self.node

    @property
    def file(self) -> Path:
        return self.directory / "relay.yaml"


#: Does the thing, once the relay has been scraped; it is given what waits until an alert fires.
Thing = Callable[[Callable[[str], Awaitable[None]]], Coroutine[Any, Any, None]]
Scene = Callable[[Stage], Awaitable[Thing]]


async def _send(node: Node, *bodies: bytes, client: str = MIDTRANS) -> list[int]:
    raw = [midtrans_request(body, client) for body in bodies]
    return [(await exchange(node.public[0], each)).status for each in raw]


async def _reload(node: Node, said: str) -> None:
    node.send(signal.SIGHUP)
    await node.wait_for(event=said)


# ---- before delivery ------------------------------------------------------------------------


async def disagreement(stage: Stage) -> Thing:
    body = midtrans_body(transaction_status="settlement")
    api = await stage.stack.enter_async_context(StatusApi(says(status_of(body, gross_amount="1"))))
    text = await stage.text()
    node = await stage.run(text.replace("    environment: sandbox\n", _CONFIRM.format(api=api.url)))
    return lambda _: _done(_send(node, body))


async def held(stage: Stage) -> Thing:
    node = await stage.run(await stage.text())
    body = midtrans_body(status_code="201", transaction_status="settlement")
    return lambda _: _done(_send(node, body))


async def confirmation_fails(stage: Stage) -> Thing:
    api = await stage.stack.enter_async_context(StatusApi(answer(500)))
    text = (await stage.text()).replace("schedule: [50ms]", "schedule: [1s]")
    node = await stage.run(text.replace("    environment: sandbox\n", _CONFIRM.format(api=api.url)))
    body = midtrans_body(transaction_status="settlement")

    async def do(fired: Callable[[str], Awaitable[None]]) -> None:
        await _send(node, body)
        await fired("RelayConfirmationFailing")
        api.behave(says(status_of(body)))

    return do


async def _nothing(_: object) -> None:
    """Do nothing: how it is set up is the thing."""


async def _done(doing: Awaitable[object]) -> None:
    await doing


# ---- events ---------------------------------------------------------------------------------


async def missing(stage: Stage) -> Thing:
    gone = stage.stack.enter_context(RefusingPort())
    text = configuration(gone).replace("schedule: [50ms]", "schedule: [1h]")
    node = await stage.run(text)

    async def do(_: object) -> None:
        await _send(node, midtrans_body())
        await node.wait_for(event="attempt")
        stage.file.write_text(text.replace("billing", "renamed"))
        await _reload(node, "reloaded")

    return do


async def dead(stage: Stage) -> Thing:
    text = (await stage.text()).replace("[50ms]", "[100ms], give_up_after: 400ms")
    node = await stage.run(text)

    async def do(_: object) -> None:
        stage.upstream.behave(answer(500))
        await _send(node, midtrans_body())
        await node.wait_for(event="attempt", decision="dead")
        stage.upstream.behave(answer(200))
        await _send(node, midtrans_body())

    return do


async def revived(stage: Stage) -> Thing:
    text = (await stage.text()).replace("[50ms]", "[100ms], give_up_after: 400ms")
    node = await stage.run(text)
    body = midtrans_body()

    async def do(_: object) -> None:
        stage.upstream.behave(answer(500))
        await _send(node, body)
        await node.wait_for(event="attempt", decision="dead")
        stage.upstream.behave(answer(200))
        await _send(node, body)
        await node.wait_for(event="attempt", decision="done")

    return do


async def conflict(stage: Stage) -> Thing:
    node = await stage.run(await stage.text())
    body = midtrans_body()
    other = json.dumps(json.loads(body) | {"merchant_id": "another"}).encode()
    return lambda _: _done(_send(node, body, other))


async def backlog(stage: Stage) -> Thing:
    text = (await stage.text()).replace("timeout: 2s", "timeout: 5m\n    concurrency: 1")
    stage.upstream.behave(hang)
    node = await stage.run(text)
    return lambda _: _done(_send(node, midtrans_body(), midtrans_body()))


async def history_lost(stage: Stage) -> Thing:
    text = (await stage.text()).replace("body: 64KiB", "body: 256KiB")
    node = await stage.run(text.replace("    upstream: billing\n", _PROXY, 1))
    large = midtrans_body(filler="x" * 250_000)

    async def do(_: object) -> None:
        # More than is buffered, while somebody else holds the file.
        with closing(sqlite3.connect(stage.directory / "relay.db", timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _number in range(70):
                await asyncio.gather(*(_send(node, large) for _ in range(4)))
            await node.wait_for(event="history_lost")
            other.rollback()

    return do


_PROXY: Final = "    upstream: billing\n    mode: proxy\n"

# ---- upstreams ------------------------------------------------------------------------------


async def upstream_rejects(stage: Stage) -> Thing:
    text = (await stage.text()).replace("[50ms]", "[1s]")
    stage.upstream.behave(answer(500))
    node = await stage.run(text)

    async def do(fired: Callable[[str], Awaitable[None]]) -> None:
        await _send(node, midtrans_body(), midtrans_body())
        await fired("RelayUpstreamDown")
        stage.upstream.behave(answer(200))

    return do


async def upstream_refuses(stage: Stage) -> Thing:
    gone = stage.stack.enter_context(RefusingPort())
    node = await stage.run(configuration(gone))
    return lambda _: _done(_send(node, *(midtrans_body() for _ in range(4))))


async def upstream_paused(stage: Stage) -> Thing:
    node = await stage.run(await stage.text())

    async def do(_: object) -> None:
        pause = request("POST", "/api/v1/upstreams/billing/pause", [BEARER])
        assert (await exchange(node.admin, pause)).status == 200

    return do


# ---- senders and addresses ------------------------------------------------------------------


async def connections_taken(stage: Stage) -> Thing:
    await stage.text()
    self_signed(stage.directory, NAME)
    node = await stage.run(relay_config(stage.directory, stage.upstream.url, 512).read_text())

    async def do(fired: Callable[[str], Awaitable[None]]) -> None:
        port = node.public[0][1]
        await stage.stack.enter_async_context(besieged(port, 512))
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_keep_sending(port))
            await fired("RelayConnectionsTaken")
            sending.cancel()

    return do


async def _keep_sending(port: int) -> None:
    while True:
        assert (await send(port, message(), SENDER)).status == 200


async def sender_unknown(stage: Stage) -> Thing:
    node = await stage.run(await stage.text())
    return lambda _: _done(_send(node, midtrans_body(), client=STRANGER))


async def refusals_rise(stage: Stage) -> Thing:
    node = await stage.run(await stage.text())
    forged = json.dumps(json.loads(midtrans_body()) | {"gross_amount": "1.00"}).encode()
    return lambda _: _done(_send(node, *[forged] * 15))


_DNS: Final = """
dns: {{nameservers: ["127.0.0.1:{port}"], min_refresh: 1s, max_refresh: 1s, timeout: 500ms}}
"""
_HOST: Final = "    upstream: billing\n    allowlist: {replace: [hooks.example.com]}\n"


async def _by_name(stage: Stage) -> BrokenNameserver:
    nameserver = await stage.stack.enter_async_context(BrokenNameserver())
    nameserver.both(gives("104.45.17.199"))
    text = (await stage.text()).replace("    upstream: billing\n", _HOST, 1)
    await stage.run(text + _DNS.format(port=nameserver.port))
    return nameserver


async def allowlist_grows(stage: Stage) -> Thing:
    nameserver = await _by_name(stage)
    more = [f"104.45.17.{number}" for number in range(10, 20)]

    async def do(_: object) -> None:
        nameserver.both(gives("104.45.17.199", *more))

    return do


async def allowlist_ages(stage: Stage) -> Thing:
    nameserver = await _by_name(stage)

    async def do(_: object) -> None:
        nameserver.both(silent)

    return do


async def allowlist_shrinks(stage: Stage) -> Thing:
    text = await stage.text()
    listed = '"104.45.17.199/32", "104.45.18.1/32", "104.45.19.1/32", "104.45.20.1/32"'
    node = await stage.run(text.replace('replace: ["104.45.17.199/32"]', f"replace: [{listed}]"))

    async def do(_: object) -> None:
        stage.file.write_text(text)
        await _reload(node, "reloaded")

    return do


async def reports_only(stage: Stage) -> Thing:
    text = await stage.text()
    await stage.run(text.replace('replace: ["', 'mode: report, replace: ["'))
    return _nothing


# ---- the process ----------------------------------------------------------------------------


async def down(stage: Stage) -> Thing:
    node = await stage.run(await stage.text())
    return lambda _: _done(node.end(signal.SIGKILL))


async def restarts(stage: Stage) -> Thing:
    text = (await stage.text()).replace(
        'admin: {bind: "127.0.0.1:0"', f'admin: {{bind: "127.0.0.1:{free_port()}"'
    )
    await stage.run(text)

    async def do(_: object) -> None:
        for _number in range(4):
            assert stage.node is not None
            await stage.node.end()
            await stage.start()
            # It is seen before it goes.
            await asyncio.sleep(3)

    return do


async def disk_low(stage: Stage) -> Thing:
    volume = stage.stack.enter_context(small_volume(stage.directory / "volume", 100))
    text = await stage.text()
    await stage.run(text.replace("path: relay.db", f"path: {volume}/relay.db"))
    return _nothing


async def certificate_ends(stage: Stage) -> Thing:
    write_pair(stage.directory, end=SystemClock().now() + timedelta(days=5))
    tls = '{bind: "127.0.0.1:0", tls: {certificate: certificate.pem, key: key.pem}}'
    await stage.run((await stage.text()).replace('{bind: "127.0.0.1:0"}', tls))
    return _nothing


async def upstream_certificate_ends(stage: Stage) -> Thing:
    write_pair(stage.directory, end=SystemClock().now() + timedelta(days=5))
    bank = 'bank: {url: "https://127.0.0.1:1/", tls: {certificate: certificate.pem, key: key.pem}}'
    await stage.run((await stage.text()).replace("upstreams:\n", f"upstreams:\n  {bank}\n"))
    return _nothing


async def clock_off(stage: Stage) -> Thing:
    node = await stage.run((await stage.text()).replace("    timestamp: off\n", ""))
    raw, _ = vipps_request()

    async def do(_: object) -> None:
        for _number in range(4):
            assert (await exchange(node.public[0], raw)).status == 401

    return do


async def reload_refused(stage: Stage) -> Thing:
    text = await stage.text()
    node = await stage.run(text)

    async def do(_: object) -> None:
        stage.file.write_text(text.replace("upstream: billing", "upstream: biling"))
        await _reload(node, "reload_refused")

    return do


async def token_guessed(stage: Stage) -> Thing:
    node = await stage.run(await stage.text())
    guess = request("GET", "/api/v1/events", [("Authorization", "Bearer a-guess")])

    async def do(_: object) -> None:
        await asyncio.gather(*(exchange(node.admin, guess) for _ in range(14)))

    return do


#: What fires after each scene, and nothing else.
SCENES: Final[tuple[tuple[Scene, frozenset[str]], ...]] = tuple(
    (scene, frozenset(f"Relay{name}" for name in names.split()))
    for scene, names in (
        (disagreement, "Disagreement EventsHeld"),
        (held, "EventsHeld"),
        (confirmation_fails, "ConfirmationFailing"),
        (missing, "UpstreamMissing"),
        (dead, "EventsDead"),
        (revived, "EventsDead EventsRevived"),
        (conflict, "Conflict"),
        (backlog, "BacklogAging"),
        (history_lost, "HistoryLost"),
        (upstream_rejects, "UpstreamDown"),
        (upstream_refuses, "BreakerOpen BacklogAging"),
        (upstream_paused, "UpstreamPaused"),
        (connections_taken, "ConnectionsTaken"),
        (sender_unknown, "SenderUnknown"),
        (refusals_rise, "RefusalsRising"),
        (allowlist_grows, "AllowlistGrown"),
        (allowlist_ages, "AllowlistStale"),
        (allowlist_shrinks, "AllowlistShrunk"),
        (reports_only, "ReportModeLeftOn"),
        (down, "Down"),
        (restarts, "Restarts"),
        (disk_low, "DiskLow"),
        (certificate_ends, "CertificateEnds"),
        (upstream_certificate_ends, "UpstreamCertificateEnds"),
        (clock_off, "ClockOff"),
        (reload_refused, "ReloadRefused"),
        (token_guessed, "AdminTokenGuessed"),
    )
)
