"""A process stands still for longer than its leases last, as a machine does that is suspended.

Whoever runs takes over what it had in hand. When it goes on, it has lost that, and can no more
write down what came of it.
"""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash import fault_proxy, promises
from tests.crash.fault_proxy import Exchange, FaultProxy
from tests.crash.lengths import lengths, tell
from tests.crash.relays import accepted, lives
from tests.harness.clock import wait_until
from tests.harness.consistency import check_consistency
from tests.harness.deliveries import midtrans_body
from tests.harness.restarts import Life, life_of
from tests.harness.traced_node import RELAY
from tests.harness.upstream import Received

pytestmark = pytest.mark.proof

SHORT_LEASES = (str(Path(__file__).with_name("short_leases.py")),)

#: Attempts of one process at a time, events that wait for their turn, and events sent for that.
_AT_ONCE, _WAITING, _MOST = 4, 4, 200

#: Seconds until leases have run out, and what they covered has been delivered.
_PATIENCE = 60.0


class Spell:
    """Keeps from one life what the upstream says: half of it until `broken`, half for ever."""

    def __init__(self, life: int) -> None:
        self.broken = asyncio.Event()
        self._life = life
        self._turn = 0

    def choose(self, request: Received) -> fault_proxy.Fault:
        if life_of(request) != self._life or self.broken.is_set():
            return fault_proxy.nothing
        self._turn += 1
        return self._late if self._turn % 2 else self._never

    async def _late(self, exchange: Exchange) -> None:
        answer = await exchange.pass_on()
        await self.broken.wait()
        await exchange.say(answer)

    async def _never(self, exchange: Exchange) -> None:
        await exchange.pass_on()
        await asyncio.Event().wait()


async def _has_in_hand(life: Life, proxy: FaultProxy) -> int:
    """Send events until the first life has as many under way as may be, and some that wait.

    Return how many. Another life may take some of them as soon as they are stored.
    """
    sent, before = 0, _begun(proxy)
    while _begun(proxy) < before + _AT_ONCE:
        assert sent < _MOST, "somebody else gets them all"
        await accepted(life.public[0], midtrans_body())
        sent += 1
    for _ in range(_WAITING):
        await accepted(life.public[0], midtrans_body())
    return sent + _WAITING


def _begun(proxy: FaultProxy) -> int:
    return sum(life_of(request) == 1 for request in proxy.seen)


async def _is_told(life: Life, number: int, **fields: object) -> None:
    assert await wait_until(
        lambda: len(life.having(event="attempt", **fields)) >= number, _PATIENCE
    ), f"{len(life.having(event='attempt', **fields))} of {number} {fields}"


async def _succeeds_once(life: Life, other: Life) -> int:
    """Send one event at a time until this life has delivered one; return how many."""

    def done(*lives: Life) -> int:
        return sum(len(each.having(event="attempt", decision="done")) for each in lives)

    async def all_done(number: int) -> bool:
        return await wait_until(lambda: done(life, other) == number, _PATIENCE)

    sent, before, of_both = 0, done(life), done(life, other)
    while done(life) == before:
        assert sent < _MOST, "somebody else gets them all"
        await accepted(life.public[0], midtrans_body())
        sent += 1
        assert await all_done(of_both + sent)
    return sent


async def _pauses(
    times: int, tmp_path: Path, proxy: FaultProxy, program: Sequence[str] = SHORT_LEASES
) -> None:
    relays = lives(tmp_path, {"billing": proxy.url}, timeout="3s", concurrency=_AT_ONCE)
    async with (
        relays.next(program=program) as paused,
        relays.next(role="dispatch", program=program) as other,
    ):
        sent = own = 0
        for number in range(1, times + 1):
            spell = Spell(life=1)
            proxy.choose = spell.choose
            sent += await _has_in_hand(paused, proxy)
            paused.send(signal.SIGSTOP)
            # What it has in hand, the other gets when the leases have run out.
            await _is_told(other, sent - own, decision="done")
            spell.broken.set()
            paused.send(signal.SIGCONT)
            await _is_told(paused, number * _AT_ONCE, decision="lost")
            # After too many failures in a row it would leave the upstream alone.
            sent += await _succeeds_once(paused, other)
            own += 1
        await check_consistency(other, relays)
        await check_consistency(paused, relays)
        assert await other.end() == 0
        # And it is as good as ever.
        await accepted(paused.public[0], midtrans_body())
        await _is_told(paused, own + 1, decision="done")
        audit = await check_consistency(paused, relays)
        assert await paused.end() == 0
        assert paused.having(event="attempt", decision="retry") == []
        assert paused.noise == other.noise == []
    assert len(audit.rows) == sent + 1
    promises.delivered_what_it_stored(audit, proxy.seen)
    extra = len(proxy.seen) - len(audit.rows)
    assert extra == times * _AT_ONCE
    tell(pauses=times, events=len(audit.rows), extra_deliveries=extra)


@lengths(short=1, long=40)
async def test_what_a_paused_process_had_in_hand_is_lost_to_it(
    times: int, tmp_path: Path, proxy: FaultProxy
) -> None:
    await _pauses(times, tmp_path, proxy)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_it_is_so_with_leases_as_they_are(tmp_path: Path, proxy: FaultProxy) -> None:
    await _pauses(1, tmp_path, proxy, program=RELAY)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("times", [10])
async def test_a_process_that_is_alone_takes_up_again_what_it_had_in_hand(
    times: int, tmp_path: Path, proxy: FaultProxy
) -> None:
    relays = lives(tmp_path, {"billing": proxy.url}, timeout="3s", concurrency=_AT_ONCE)
    async with relays.next(program=SHORT_LEASES) as life:
        sent = 0
        for _ in range(times):
            spell = Spell(life=1)
            proxy.choose = spell.choose
            sent += await _has_in_hand(life, proxy)
            life.send(signal.SIGSTOP)
            # Longer than its leases last: nothing tells that they have run out.
            await asyncio.sleep(4.5)
            spell.broken.set()
            life.send(signal.SIGCONT)
            await _is_told(life, sent, decision="done")
        audit = await check_consistency(life, relays)
        assert await life.end() == 0
        assert life.noise == []
    got = promises.by_id(proxy.seen)
    assert set(got) == audit.having("delivered") == {row.id for row in audit.rows}
    assert max(len(requests) for requests in got.values()) <= 2
    tell(pauses=times, events=len(got), extra_deliveries=len(proxy.seen) - len(got))
