"""Events go through routes to several upstreams, while each of these fails at times and relay is
killed again and again: every destination of every event gets it, and nobody else does.
"""

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from tests.crash import destinations, dropping_control, short_pauses
from tests.crash.fan_out import ORDERED, UPSTREAMS, RoutedMessages, routed_lives
from tests.crash.lengths import dice, lengths, tell
from tests.crash.moods import MoodyUpstream, Senders
from tests.harness.clock import wait_until
from tests.harness.consistency import check_consistency
from tests.harness.node import Node
from tests.harness.restarts import Life, Restarts
from tests.harness.spool_audit import SpoolAudit, audit_running

pytestmark = pytest.mark.proof

_PROGRAM = (str(Path(short_pauses.__file__)),)

#: Seconds until a kill, twice at most, and messages of one life besides what came again.
_SERVING, _OF_ONE_LIFE = 1.0, 400
#: Requests under way on each connection of a life: one comes alone, more come in pipelines.
_DEPTHS = (1, 1, 1, 4, 16)
#: Seconds until the last is delivered when all is well again.
_PATIENCE = 120.0


@dataclass
class Proof:
    """One spool, its relays, upstreams and senders.

    killed: the lives that ended so. senders: those of each life; they go on in the next ones.
    """

    messages: RoutedMessages
    upstreams: dict[str, MoodyUpstream]
    relays: Restarts
    chance: Random
    killed: set[int] = field(default_factory=set)
    senders: list[Senders] = field(default_factory=list)
    sending: list[asyncio.Task[None]] = field(default_factory=list)

    def send(self, group: asyncio.TaskGroup, numbers: range) -> None:
        """Begin to bring these messages, and copies of some that were brought before."""
        some = range(max(0, numbers.start - 200), numbers.start)
        copies = self.chance.sample(some, min(len(some), len(numbers) // 10))
        senders = Senders(iter((*numbers, *copies)), self.messages.request)
        self.senders.append(senders)
        self.sending += [group.create_task(senders.run(depth)) for depth in _DEPTHS]

    def is_settled(self, last: Life) -> bool:
        """Whether all that was sent is acknowledged and delivered, and this life's history kept."""
        if not all(each.done() for each in self.sending):
            return False
        audit = audit_running(self.relays.spool)
        forwarded = {line["id"] for line in last.having(event="attempt", decision="passed")}
        return not audit.having("pending", "leased") and forwarded <= audit.having("passed")

    @property
    def acknowledged(self) -> int:
        return sum(each.acknowledged for each in self.senders)

    async def live(self, life: Life, share: int) -> None:
        """Let a life serve until so many are acknowledged, or for a while longer."""
        self.serve(life)
        enough = self.acknowledged + self.chance.uniform(0, share)
        await wait_until(lambda: self.acknowledged >= enough, _SERVING)
        if self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.uniform(0, _SERVING))

    def serve(self, life: Life | None) -> None:
        """Have everything sent to this life from now on; None: to nobody."""
        address = None if life is None else life.public[0]
        for each in self.senders:
            each.serve(address)

    async def end(self, life: Life) -> None:
        """Kill this life, or stop it now and then; what it leaves must be whole."""
        number = signal.SIGKILL if self.chance.random() < 0.9 else signal.SIGTERM
        assert await life.end(number) == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        if number is signal.SIGKILL:
            self.killed.add(self.relays.number)
        self.serve(None)
        # A day's log would not fit into memory.
        life.lines.clear()
        Node.said.clear()
        destinations.stored_for_its_upstreams(self.relays.left_behind(), self.messages)


@lengths(short=600, long=10_000)
async def test_every_upstream_gets_what_is_its_own(times: int, tmp_path: Path) -> None:
    proof, audit = await _sent_under_kills(times, tmp_path)
    arrived = destinations.of(proof.upstreams)
    acknowledged = range(times)
    extra = destinations.is_everywhere(
        audit, proof.messages, acknowledged, arrived, frozenset(proof.killed)
    )
    destinations.passed_on(audit, proof.messages, acknowledged, arrived)
    destinations.in_order(audit, proof.upstreams[ORDERED].arrived)
    attempts = sum(len(each.arrived) for each in proof.upstreams.values())
    assert proof.killed
    statuses = [dict(each.statuses) for each in proof.senders]
    assert all(set(each) <= {200, 500, 502, 503} for each in statuses), statuses
    tell(
        events=times,
        kills=len(proof.killed),
        lives=proof.relays.number,
        destinations=len(audit.rows),
        unrouted=len(audit.unrouted),
        attempts=attempts,
        extra_deliveries=extra,
        came_again=sum(each.came_again for each in proof.senders),
        longest_start=f"{proof.relays.longest_start:.2f}s",
        tallies=dict(audit.tallies),
    )


async def test_a_relay_that_forgets_an_upstream_is_found_out(tmp_path: Path) -> None:
    program = (str(Path(dropping_control.__file__)),)
    with pytest.raises(ExceptionGroup) as found:
        await _sent_under_kills(120, tmp_path, program)
    assert found.group_contains(AssertionError, match="message")


async def _sent_under_kills(
    times: int, directory: Path, program: tuple[str, ...] = _PROGRAM
) -> tuple[Proof, SpoolAudit]:
    """Bring so many messages through lives that are killed; return when all are delivered."""
    chance = dice()
    async with AsyncExitStack() as stack:
        upstreams = {
            name: await stack.enter_async_context(MoodyUpstream(chance)) for name in UPSTREAMS
        }
        relays = routed_lives(directory, upstreams)
        proof = Proof(RoutedMessages(chance), upstreams, relays, chance)
        async with asyncio.TaskGroup() as group:
            pace = 10 if times < 2000 else 2
            swinging = [group.create_task(each.swing(pace)) for each in upstreams.values()]
            share = min(_OF_ONE_LIFE, times // 4)
            for begin in range(0, times, share):
                proof.send(group, range(begin, min(begin + share, times)))
                async with relays.next(program=program) as life:
                    await proof.live(life, share)
                    await proof.end(life)
            async with relays.next(program=program) as last:
                await proof.live(last, share)
                for each in swinging:
                    each.cancel()
                assert await wait_until(lambda: proof.is_settled(last), _PATIENCE), "not settled"
                audit = await check_consistency(last, relays)
                assert await last.end() == 0
        return proof, audit
