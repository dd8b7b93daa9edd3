"""The rate of an upstream holds: beside a backlog, and over a kill."""

import asyncio
import signal
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests.crash.lengths import lengths, tell
from tests.crash.relays import accepted, lives
from tests.harness.deliveries import midtrans_body
from tests.harness.upstream import Upstream, answer

pytestmark = pytest.mark.proof

RATE, SENDERS = 50, 8

#: What may be amiss in a minute, and a second of it.
TOLERANCE = 0.05


@lengths(short=8, long=60)
async def test_a_rate_holds_beside_a_backlog_and_over_a_kill(
    times: int, tmp_path: Path, upstream: Upstream
) -> None:
    loop, seen = asyncio.get_running_loop(), []

    async def noting(writer: asyncio.StreamWriter) -> None:
        seen.append(loop.time())
        await answer(200)(writer)

    upstream.behave(noting)
    relays = lives(tmp_path, {"billing": upstream.url}, rate=f"{RATE}/s")
    bodies = [midtrans_body() for _ in range(round(times * RATE * 1.15))]
    async with relays.next() as life:
        ends = loop.time() + times / 2
        await _send(life.public[0], bodies)
        waiting = len(bodies) - len(seen)
        await asyncio.sleep(ends - loop.time())
        await life.end(signal.SIGKILL)
    first = tuple(seen)
    async with relays.next() as life:
        began = loop.time()
        await asyncio.sleep(times / 2)
        second = tuple(seen[len(first) :])
        assert await life.end() == 0
    for told in (first, second):
        _holds(told)
    whole = [at for at in seen if at < seen[0] + times]
    # A second's worth may go at once. A start gives nothing but what its own time has brought.
    assert _most(seen, 1.0) <= 2 * RATE
    assert _most(second, 1.0) <= 1.5 * RATE
    away = second[0] - first[-1]
    assert (times - away) * RATE * (1 - TOLERANCE) - RATE <= len(whole)
    assert len(whole) <= times * RATE * (1 + TOLERANCE) + RATE
    tell(
        waiting=waiting,
        in_all=len(whole),
        seconds=times,
        away=f"{away:.2f}s",
        most_in_a_second=_most(seen, 1.0),
        most_after_the_restart=_most(second, 1.0),
        first_after_the_start=f"{second[0] - began:.2f}s",
        extra=len(upstream.received) - len({each.body for each in upstream.received}),
    )


async def _send(address: tuple[str, int], bodies: Iterable[bytes]) -> None:
    left = iter(bodies)

    async def sender() -> None:
        for body in left:
            await accepted(address, body)

    await asyncio.gather(*(sender() for _ in range(SENDERS)))


def _holds(times: Sequence[float]) -> None:
    """Look at what one life has sent, but for what it may send at once in the beginning."""
    steady = times[bisect_left(times, times[0] + 1.0) :]
    per_second = (len(steady) - 1) / (steady[-1] - steady[0])
    tell(per_second=f"{per_second:.2f}", each=_by_second(times))
    assert per_second == pytest.approx(RATE, rel=TOLERANCE)


def _by_second(times: Sequence[float]) -> list[int]:
    edges = range(int(times[-1] - times[0]) + 1)
    return [_between(times, times[0] + each, 1.0) for each in edges]


def _most(times: Sequence[float], seconds: float) -> int:
    """Return the most that were seen in any so many seconds."""
    return max(_between(times, at, seconds) for at in times)


def _between(times: Sequence[float], start: float, seconds: float) -> int:
    return bisect_left(times, start + seconds) - bisect_left(times, start)
