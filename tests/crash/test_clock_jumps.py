"""The wall clock jumps while deliveries wait for their next attempt: no burst, no stall, and
nothing is given up before its time.

`libfaketime` sits under the whole process and reads the offset from a file that the test rewrites;
monotonic time stays what it is. The upstream refuses, then heals.
"""

import asyncio
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.crash.messages import send_all, some
from tests.crash.promises import check_consistency_afterwards, delivered_in_the_end
from tests.harness.clock import wait_until
from tests.harness.deliveries import ENVIRON, configuration
from tests.harness.traced_node import WrappedNode
from tests.harness.upstream import Behaviour, Upstream, answer, when

pytestmark = [pytest.mark.debian, pytest.mark.proof]

_LIBRARY: Final = "libfaketime.so.1"
_PLACES: Final = (Path("/usr/lib"), Path("/usr/local/lib"))

#: One wait between attempts, in seconds, and how far it varies.
_WAIT: Final = 2.0
_SHORTEST: Final = 0.9 * _WAIT - 0.05
#: How many events wait, and for how long they are watched around the jump.
_EVENTS: Final = 5
_WATCHED: Final = 4.0

_MINUTES: Final = 600
_YEAR: Final = 365 * 86_400
_JUMPS: Final = {
    "+10 min": (_MINUTES,),
    "-10 min": (-_MINUTES,),
    "+1 year": (_YEAR,),
    "-1 year": (-_YEAR,),
    "to and fro": (_MINUTES, 0, _MINUTES, -_MINUTES),
}
#: How far off the clock is in one life of relay after the other.
_LIVES: Final = [
    pytest.param((-_YEAR, _YEAR, 0), id="to and fro"),
    pytest.param((0, _YEAR), id="ahead now", marks=pytest.mark.long),
    pytest.param((_YEAR, 0), id="ahead before", marks=pytest.mark.long),
    pytest.param((0, -_YEAR), id="behind now", marks=pytest.mark.long),
    pytest.param((-_YEAR, 0), id="behind before", marks=pytest.mark.long),
]


class FakeTime:
    """What a process believes the wall clock to say: the truth, and so many seconds more."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "faketime"
        self.jump(0)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def jump(self, seconds: int) -> None:
        """Let the clock be so far off from here on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.replace(self._file)


def _library() -> Path:
    for place in _PLACES:
        for found in sorted(place.glob(f"**/faketime/{_LIBRARY}")):
            return found
    pytest.skip("NOT PROVEN: libfaketime is absent (package libfaketime)")


@pytest.fixture
def waiting(tmp_path: Path, upstream: Upstream) -> Path:
    """A configuration with a schedule that can be told from a burst."""
    path = tmp_path / "relay.yaml"
    text = configuration(upstream.url).replace("[50ms]", f"[{_WAIT:g}s]")
    # Kept for longer than clocks differ: what is delivered is looked at afterwards.
    kept = "spool: {path: relay.db, retain: 1000d, retain_keys: 1000d}"
    path.write_text(text.replace("spool: {path: relay.db}", kept))
    return path


class Attempts:
    """When each event was tried, in seconds of a clock that does not jump."""

    def __init__(self, upstream: Upstream, then: Behaviour) -> None:
        self.times: dict[str, list[float]] = {}
        self._upstream = upstream
        self._then = then

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        # Nothing has run since this request was recorded.
        name = self._upstream.received[-1].values("webhook-id")[0]
        self.times.setdefault(name, []).append(asyncio.get_running_loop().time())
        await self._then(writer)

    @property
    def shortest_wait(self) -> float:
        return min(
            later - earlier for times in self.times.values() for earlier, later in pairwise(times)
        )


@pytest.mark.parametrize("jumps", _JUMPS.values(), ids=_JUMPS)
async def test_a_jump_neither_hastens_nor_stalls_retries(
    waiting: Path, upstream: Upstream, jumps: tuple[int, ...]
) -> None:
    refused, healed = Attempts(upstream, answer(503)), Attempts(upstream, answer(200))
    upstream.behave(refused)
    time = FakeTime(waiting.parent)
    async with WrappedNode(waiting, {**ENVIRON, **time.environ}) as node:
        assert {each.status for each in await send_all(node.public[0], some(_EVENTS))} == {200}
        await node.wait_for(_EVENTS, event="attempt", decision="retry")
        # Watching is the test: what must not happen cannot be waited for.
        for jump in jumps:
            time.jump(jump)
            await asyncio.sleep(_WATCHED / len(jumps))
        upstream.behave(healed)
        await wait_until(lambda: len(healed.times) == _EVENTS, 3 * _WAIT)
        await check_consistency_afterwards(node, waiting)
        assert await node.end() == 0
    dead = node.having(event="attempt", decision="dead")
    assert not dead, f"{len(dead)} of {_EVENTS} were given up"
    assert len(healed.times) == _EVENTS, "a stall: not all came after the upstream had healed"
    assert refused.shortest_wait > _SHORTEST, "a burst: tried again before the time had come"


@pytest.mark.parametrize("jumps", _JUMPS.values(), ids=_JUMPS)
async def test_a_jump_does_not_repeat_an_attempt_that_is_under_way(
    waiting: Path, upstream: Upstream, jumps: tuple[int, ...]
) -> None:
    # Attempts and leases end long after this test; a jump is longer than both.
    waiting.write_text(waiting.read_text().replace("timeout: 2s", "timeout: 60s"))
    release = asyncio.Event()
    upstream.behave(when(release, answer(200)))
    time = FakeTime(waiting.parent)
    async with WrappedNode(waiting, {**ENVIRON, **time.environ}) as node:
        assert {each.status for each in await send_all(node.public[0], some(_EVENTS))} == {200}
        await upstream.has_received(_EVENTS)
        for jump in jumps:
            time.jump(jump)
            # More than what an idle loop sleeps.
            await asyncio.sleep(1.5 / len(jumps))
        release.set()
        await node.wait_for(_EVENTS, event="attempt", decision="done")
        assert await node.end() == 0
    assert len(upstream.received) == _EVENTS, "the same events were sent again meanwhile"
    assert len(node.having(event="attempt")) == _EVENTS


@pytest.mark.parametrize("jumps", _JUMPS.values(), ids=_JUMPS)
async def test_a_jump_leaves_new_events_alone(
    waiting: Path, upstream: Upstream, jumps: tuple[int, ...]
) -> None:
    time = FakeTime(waiting.parent)
    async with WrappedNode(waiting, {**ENVIRON, **time.environ}) as node:
        before, after = some(5), some(5, seed=2)
        await send_all(node.public[0], before)
        time.jump(jumps[-1])
        answered = await send_all(node.public[0], after)
        assert {each.status for each in answered} == {200}
        assert max(each.seconds for each in answered) < 2
        wanted = {each.body for each in before + after}
        await wait_until(lambda: {each.body for each in upstream.received} == wanted, 10)
        assert {each.body for each in upstream.received} == wanted
        assert await node.end() == 0


@pytest.mark.parametrize("lives", _LIVES)
async def test_a_restart_under_another_clock_gives_nothing_up_and_puts_nothing_off(
    waiting: Path, upstream: Upstream, lives: tuple[int, ...]
) -> None:
    """How long an event may be tried is no matter of what a clock said in another life."""
    sent = some(_EVENTS)
    waiting.write_text(waiting.read_text().replace(f"[{_WAIT:g}s]", "[200ms]"))
    time = FakeTime(waiting.parent)
    upstream.behave(answer(503))
    for life, offset in enumerate(lives):
        time.jump(offset)
        async with WrappedNode(waiting, {**ENVIRON, **time.environ}) as node:
            if life == 0:
                answered = await send_all(node.public[0], sent)
                assert {each.status for each in answered} == {200}
            await node.wait_for(_EVENTS, event="attempt")
            # What waits, and what was in hand: both must be found again.
            await node.end(signal.SIGKILL if life % 2 else signal.SIGTERM)
        decisions = Counter(line["decision"] for line in node.having(event="attempt"))
        assert decisions.keys() == {"retry"}, f"life {life}: {decisions}"
    upstream.behave(answer(200))
    upstream.received.clear()
    await delivered_in_the_end(waiting, upstream, sent)


@pytest.mark.parametrize("offset", [3600, -3600])
async def test_processes_whose_clocks_differ_do_not_deliver_each_others_events(
    waiting: Path, upstream: Upstream, offset: int
) -> None:
    """Leases are written by one and read by the other; the clock was set between their starts."""
    waiting.write_text(waiting.read_text().replace("timeout: 2s", "timeout: 30s"))
    sent, may_answer = some(40), asyncio.Event()
    upstream.behave(when(may_answer, answer(200)))
    time = FakeTime(waiting.parent)
    async with (
        WrappedNode(waiting, ENVIRON, "edge") as edge,
        WrappedNode(waiting, ENVIRON, "dispatch") as first,
    ):
        time.jump(offset)
        async with WrappedNode(waiting, {**ENVIRON, **time.environ}, "dispatch") as second:
            answered = await send_all(edge.public[0], sent)
            assert {each.status for each in answered} == {200}
            # Watching is the test: what must not happen cannot be waited for.
            await asyncio.sleep(_WATCHED)
            may_answer.set()
            wanted = {each.body for each in sent}
            await wait_until(lambda: {each.body for each in upstream.received} == wanted, 20)
            for node in (second, first, edge):
                assert await node.end() == 0
    assert sorted(each.body for each in upstream.received) == sorted(each.body for each in sent)
