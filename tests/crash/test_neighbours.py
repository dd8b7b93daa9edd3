"""One upstream that is down, or one event that nobody can take, holds up nothing else."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.crash import fault_proxy, promises
from tests.crash.fault_proxy import Exchange, FaultProxy
from tests.crash.relays import accepted, lives
from tests.harness.consistency import check_consistency
from tests.harness.deliveries import ENVIRON, midtrans_body
from tests.harness.restarts import Life
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import exchange, request

pytestmark = pytest.mark.proof

_HEALTHY = [f"shop{number}" for number in range(9)]
_EACH = 5


@pytest.fixture
async def sick() -> AsyncIterator[FaultProxy]:
    """Give the line to the one upstream that is down; it leads to an upstream of its own."""
    async with Upstream() as behind, FaultProxy(behind.port) as proxy:
        yield proxy


@pytest.mark.parametrize("how", ["hangs", "refuses"])
async def test_one_of_ten_upstreams_is_down(
    how: str, tmp_path: Path, sick: FaultProxy, upstream: Upstream
) -> None:
    healed = asyncio.Event()

    async def until_healed(exchange: Exchange) -> None:
        await healed.wait()
        await fault_proxy.nothing(exchange)

    sick.choose = lambda _: until_healed
    if how == "refuses":
        await sick.refuse()
    urls = dict.fromkeys(_HEALTHY, upstream.url)
    # More than its workers can take: what is left over waits in the spool, before the others'.
    relays = lives(tmp_path, {"sick": sick.url, **urls}, timeout="30s", concurrency=2)
    async with relays.next() as life:
        for _ in range(_EACH):
            for name in ("sick", *_HEALTHY):
                await accepted(life.public[0], midtrans_body(), name)
        for name in _HEALTHY:
            await life.wait_for(_EACH, event="attempt", decision="done", upstream=name)
        assert life.having(event="attempt", decision="done", upstream="sick") == []
        assert len(upstream.received) == len(_HEALTHY) * _EACH
        healed.set()
        if how == "refuses":
            await sick.listen()
        await life.wait_for(_EACH, event="attempt", decision="done", upstream="sick")
        audit = await check_consistency(life, relays)
        assert await life.end() == 0
    assert len(audit.rows) == (len(_HEALTHY) + 1) * _EACH
    assert {row.status for row in audit.rows} == {"delivered"}
    assert len(promises.by_id(upstream.received)) == len(upstream.received)


async def test_an_event_that_nobody_can_take_lets_the_others_pass(
    tmp_path: Path, proxy: FaultProxy, upstream: Upstream
) -> None:
    refuse = fault_proxy.instead(answer(500))
    poison, others = midtrans_body(), [midtrans_body() for _ in range(20)]
    all_are_stored = asyncio.Event()

    async def spoil(exchange: Exchange) -> None:
        await all_are_stored.wait()
        await refuse(exchange)

    proxy.choose = lambda request: spoil if request.body == poison else fault_proxy.nothing
    relays = lives(tmp_path, {"billing": proxy.url}, timeout="30s", concurrency=1, retry="200ms")
    async with relays.next() as life:
        for body in (poison, *others):
            await accepted(life.public[0], body)
        all_are_stored.set()
        await life.wait_for(len(others), event="attempt", decision="done")
        await life.wait_for(2, event="attempt", decision="retry")
        assert sorted(each.body for each in upstream.received) == sorted(others)
        # There is one worker for all of them, and it does not wait for the poison's next turn.
        first, second, *_ = (turn for turn, each in enumerate(proxy.seen) if each.body == poison)
        assert first == 0
        assert second > 1
        proxy.choose = lambda _: fault_proxy.nothing
        await life.wait_for(len(others) + 1, event="attempt", decision="done")
        audit = await check_consistency(life, relays)
        assert await life.end() == 0
    assert upstream.received[-1].body == poison
    assert {row.status for row in audit.rows} == {"delivered"}


async def test_an_event_that_nobody_can_take_dies_alone_and_can_be_put_back(
    tmp_path: Path, proxy: FaultProxy, upstream: Upstream
) -> None:
    refuse = fault_proxy.instead(answer(500))
    poison, others = midtrans_body(), [midtrans_body() for _ in range(5)]
    proxy.choose = lambda request: refuse if request.body == poison else fault_proxy.nothing
    relays = lives(tmp_path, {"billing": proxy.url}, give_up_after="300ms")
    async with relays.next() as life:
        for body in (poison, *others):
            await accepted(life.public[0], body)
        await life.wait_for(len(others), event="attempt", decision="done")
        dead = await life.wait_for(event="attempt", decision="dead")
        audit = await check_consistency(life, relays)
        assert audit.having("dead") == {dead["id"]}
        assert len(audit.having("delivered")) == len(others)
        proxy.choose = lambda _: fault_proxy.nothing
        await _requeue(life, dead["id"])
        await promises.has_delivered(life, dead["id"])
        await check_consistency(life, relays)
        assert await life.end() == 0
    assert upstream.received[-1].body == poison
    assert upstream.received[-1].values("webhook-id") == [dead["id"]]


async def _requeue(life: Life, event_id: str) -> None:
    async with (
        aiohttp.ClientSession(
            life.admin_url, headers={"Authorization": f"Bearer {ENVIRON['RELAY_ADMIN_TOKEN']}"}
        ) as admin,
        admin.post(f"/api/v1/events/{event_id}/requeue") as response,
    ):
        assert response.status == 200, await response.text()


# ---- a silent name server -------------------------------------------------------------------
# The relay runs in a mount namespace of its own, in which `/etc/resolv.conf` names a server of
# ours: it takes every question and says nothing. That takes Linux and root.

_SILENT = "127.0.0.9"
_EVENTS = 40
_GRACE = 5.0  # as in the configuration of these relays
_TO_SPARE = 5.0


@pytest.fixture
def nobody_answers(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Give what runs a program in a world whose name server is silent."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("this needs root and `unshare`: a silent name server was NOT tried")
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {_SILENT}\noptions timeout:30 attempts:5\n")
    script = f'mount --bind "{resolv}" /etc/resolv.conf && exec "$@"'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind((_SILENT, 53))
        except OSError as error:
            pytest.skip(f"a silent name server was NOT tried: {error}")
        yield ("unshare", "-m", "sh", "-c", script, "sh")


async def test_an_upstream_whose_name_nobody_knows_is_alone_with_that(
    tmp_path: Path, nobody_answers: tuple[str, ...], upstream: Upstream
) -> None:
    healthy = upstream.url.replace("127.0.0.1", "localhost")
    upstreams = {"silent": "http://billing.example.com/events", "healthy": healthy}
    relays = lives(tmp_path, upstreams, timeout="30s", concurrency=_EVENTS)
    loop = asyncio.get_running_loop()
    async with relays.next(*nobody_answers) as life:
        for _ in range(_EVENTS):
            await accepted(life.public[0], midtrans_body(), "silent")
        for _ in range(_EVENTS):
            await accepted(life.public[0], midtrans_body(), "healthy")
        last = await life.wait_for(_EVENTS, event="attempt", upstream="healthy")
        so_far = life.lines[: life.lines.index(last) + 1]
        assert {each["decision"] for each in so_far if each["event"] == "attempt"} == {"done"}
        assert (await exchange(life.admin, request("GET", "/metrics"))).status == 200
        began = loop.time()
        assert await life.end() == 0
        assert loop.time() - began < _GRACE + _TO_SPARE
    assert len(upstream.received) == _EVENTS
