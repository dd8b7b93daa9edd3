"""Killed exactly between two steps that belong together."""

import signal
from pathlib import Path

import pytest

from tests.crash import fault_proxy, promises
from tests.crash.fault_proxy import Exchange, FaultProxy
from tests.crash.lengths import lengths
from tests.crash.relays import accepted, lives, message
from tests.harness import traced_node
from tests.harness.consistency import check_consistency
from tests.harness.deliveries import midtrans_body
from tests.harness.restarts import Life
from tests.harness.upstream import Received, Upstream
from tests.harness.wire import exchange

pytestmark = pytest.mark.proof


#: At the first of these calls, before it is made.
_KILLED = "signal=KILL:when=1"


class Assassin:
    """Kills the life that brings an event for the first time, and lets it pass afterwards.

    after_the_answer: strike when the upstream has answered; otherwise before it can.
    """

    def __init__(self, *, after_the_answer: bool) -> None:
        self.life: Life | None = None
        self._after = after_the_answer
        self._struck: set[str] = set()

    def choose(self, request: Received) -> fault_proxy.Fault:
        (event_id,) = request.values("webhook-id")
        if event_id in self._struck:
            return fault_proxy.nothing
        self._struck.add(event_id)
        return self._strike

    async def _strike(self, exchange: Exchange) -> None:
        assert self.life is not None
        if self._after:
            await fault_proxy.nothing(exchange)
        await self.life.end(signal.SIGKILL)


@pytest.mark.parametrize("after_the_answer", [False, True], ids=["before", "after"])
@lengths(short=5, long=100)
async def test_killed_between_delivery_and_settlement(
    times: int, after_the_answer: bool, tmp_path: Path, proxy: FaultProxy
) -> None:
    relays = lives(tmp_path, {"billing": proxy.url})
    assassin = Assassin(after_the_answer=after_the_answer)
    proxy.choose = assassin.choose
    left: set[str] = set()
    for number in range(1, times + 1):
        assassin.life = relays.next()
        async with assassin.life as life:
            await promises.has_delivered(life, *left)
            await accepted(life.public[0], midtrans_body())
            await life.ended()
        audit = relays.left_behind()
        assert (audit.sound, len(audit.rows)) == ("ok", number)
        left = audit.having("pending", "leased")
    assassin.life = None
    async with relays.next() as last:
        await promises.has_delivered(last, *left)
        audit = await check_consistency(last, relays)
        assert await last.end() == 0
    assert len(audit.rows) == times
    promises.delivered_what_it_stored(audit, proxy.seen)
    extra = [len(requests) - 1 for requests in promises.by_id(proxy.seen).values()]
    assert max(extra) <= 1
    if not after_the_answer:
        # Nobody can have settled what nobody had answered.
        assert extra == [1] * times


@pytest.mark.debian
@lengths(short=5, long=100)
async def test_killed_between_commit_and_acknowledgement(
    times: int, tmp_path: Path, upstream: Upstream
) -> None:
    traced_node.strace_needed()
    relays = lives(tmp_path, {"billing": upstream.url})
    bodies: list[bytes] = []
    for _ in range(times):
        async with relays.next(role="edge") as life:
            if bodies:
                await accepted(life.public[0], bodies[-1])
            bodies.append(midtrans_body())
            # A life that only receives sends nothing but answers from its main thread.
            calls = "sendto,sendmsg"
            async with traced_node.failing_from_now(life.pid, tmp_path / "trace", calls, _KILLED):
                reply = await exchange(life.public[0], message(bodies[-1]))
                await life.ended()
            assert reply.status == 0, "it was acknowledged before it could be killed"
        audit = relays.left_behind()
        assert audit.sound == "ok"
        assert [row.body for row in audit.rows] == bodies, "not killed after the commit"
    async with relays.next() as last:
        await accepted(last.public[0], bodies[-1])
        await last.wait_for(times, event="attempt", decision="done")
        audit = await check_consistency(last, relays)
        assert await last.end() == 0
    assert [row.body for row in audit.rows] == bodies
    promises.delivered_what_it_stored(audit, upstream.received)
    assert len(upstream.received) == times
