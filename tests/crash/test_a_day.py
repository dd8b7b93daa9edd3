"""A day in a minute: an upstream fails, slows and dies at random while events pour in without a
pause, and relay is killed and stopped now and then.

Afterwards every event has been acknowledged, delivered, and settled; it lies in one table; whatever
counts says the same; and none was delivered twice but by a kill.
"""

import asyncio
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.crash import short_pauses
from tests.crash.lengths import dice, lengths, tell
from tests.crash.moods import MoodyUpstream, Senders
from tests.crash.relays import lives, message
from tests.harness.clock import wait_until
from tests.harness.consistency import check_consistency
from tests.harness.deliveries import midtrans_body
from tests.harness.node import Node
from tests.harness.restarts import Life, Restarts
from tests.harness.spool_audit import SpoolAudit, audit_running

pytestmark = pytest.mark.proof

_PROGRAM = (str(Path(short_pauses.__file__)),)

#: Requests under way on each connection: with one a request comes alone, with more in pipelines.
_DEPTHS = (1,) * 16 + (2, 4, 8, 16)
#: Different orders; several events are about the same one.
_ORDERS = 400
_NAME = "00000000-0000-4000-8000-############"
#: Seconds until the last is delivered when all is well again.
_PATIENCE = 120.0


@lengths(short=2000, long=200_000)
async def test_a_day_of_troubles_leaves_everything_settled_once(times: int, tmp_path: Path) -> None:
    chance = dice()
    loop = asyncio.get_running_loop()
    body = _bodies(chance)
    # Half of the ends are kills; each life has its share of the day.
    in_short = times < 20_000
    ends = [signal.SIGKILL, signal.SIGTERM] * (1 if in_short else 5)
    async with MoodyUpstream(chance) as upstream:
        relays = lives(tmp_path, {"billing": upstream.url})
        senders = Senders(iter(range(times)), lambda number: message(body(number)))
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            swinging = group.create_task(upstream.swing(40 if in_short else 1))
            sending = [group.create_task(senders.run(depth)) for depth in _DEPTHS]
            for number, end in enumerate(ends, 1):
                async with relays.next(program=_PROGRAM) as life:
                    await _live(life, senders, number * times // (len(ends) + 1))
                    assert await life.end(end) == (0 if end is signal.SIGTERM else -signal.SIGKILL)
                    senders.serve(None)
                _forget(life)
                audit = relays.left_behind()
                assert (audit.sound, audit.tallies) == ("ok", audit.counts)
                assert len(audit.rows) >= senders.acknowledged
            last = relays.next(program=_PROGRAM)
            async with last:
                await _live(last, senders, times)
                await asyncio.gather(*sending)
                swinging.cancel()
                accepted = loop.time() - began
                assert await wait_until(lambda: _is_settled(relays), _PATIENCE), "never delivered"
                settled = loop.time() - began
                audit = await check_consistency(last, relays)
                assert await last.end() == 0
    assert senders.statuses.keys() <= {200, 502}, senders.statuses
    assert audit.bodies == {body(number): 1 for number in range(times)}
    attempts = sum(len(told.attempts) for told in upstream.told.values())
    assert attempts > times, "nothing went wrong: this has proven nothing"
    extra = _delivered_once(audit, upstream, relays, ends)
    tell(
        events=times,
        seconds_until_all_were_accepted=round(accepted),
        seconds_until_all_were_settled=round(settled),
        kills=ends.count(signal.SIGKILL),
        stops=ends.count(signal.SIGTERM),
        extra_deliveries=extra,
        attempts=attempts,
        moods={mood.value: number for mood, number in upstream.moods.items()},
        answers=dict(senders.statuses),
        came_again=senders.came_again,
        tallies=dict(audit.tallies),
    )


def _bodies(chance: Random) -> Callable[[int], bytes]:
    """Return what makes the body of a number: each is another event of one of some orders."""
    statuses = ("pending", "settlement", "settlement", "expire")
    made = [
        midtrans_body(
            order_id=f"order-{number}",
            transaction_id=_NAME,
            transaction_status=chance.choice(statuses),
        )
        for number in range(_ORDERS)
    ]
    return lambda number: made[number % _ORDERS].replace(b"#" * 12, b"%012d" % number)


async def _live(life: Life, senders: Senders, until: int) -> None:
    """Let a life have the senders until so many messages are acknowledged."""
    senders.serve(life.public[0])
    while senders.acknowledged < until:
        assert not life.over, life.noise
        await asyncio.sleep(0.01)


def _forget(life: Life) -> None:
    """Drop the log of a life that has ended: a day's would not fit into memory."""
    life.lines.clear()
    Node.said.clear()


def _is_settled(relays: Restarts) -> bool:
    return not audit_running(relays.spool).having("pending", "leased")


def _delivered_once(
    audit: SpoolAudit, upstream: MoodyUpstream, relays: Restarts, ends: list[signal.Signals]
) -> int:
    """Return how many deliveries were extra.

    Raises:
        AssertionError: settled and not delivered, or the reverse; or delivered again without a
            kill in between.
    """
    assert {row.status for row in audit.rows} == {"delivered"}
    assert {row.id for row in audit.rows} == set(upstream.told)
    killed = {life for life, end in enumerate(ends, 1) if end is signal.SIGKILL}
    for row in audit.rows:
        told = upstream.told[row.id]
        assert told.bodies == {row.body}
        assert told.delivered, f"{row.id} was settled and never delivered"
        # A life that was told that an event is delivered settles it, unless it is killed.
        assert all(
            earlier in killed and earlier < later for earlier, later in pairwise(told.delivered)
        ), f"{row.id} was delivered by the lives {told.delivered}"
        assert len(set(told.attempts)) == len(told.attempts), f"{row.id}: {told.attempts}"
        assert max(told.attempts) == row.attempts
    return sum(len(told.delivered) - 1 for told in upstream.told.values())
