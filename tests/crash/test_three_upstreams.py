"""Of the three upstreams of each event one is down and one is slow: the third keeps up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles

import pytest

from tests.crash.lengths import lengths, tell
from tests.crash.relays import accepted
from tests.harness.deliveries import ENVIRON, midtrans_body
from tests.harness.restarts import Life, Restarts
from tests.harness.upstream import RefusingPort, Upstream, answer, hang

pytestmark = pytest.mark.proof

RATE = 150
CONCURRENCY = 32

#: Seconds that the slow one takes over each request.
SLOW = 2.0

#: How far the third may be behind, by that of one that is alone, and at least.
BOUND, LEAST = 1.5, 8

_CONFIGURATION = """
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0", token: "${{env:RELAY_ADMIN_TOKEN}}"}}
spool: {{path: relay.db}}
shutdown_grace: 1s
upstreams:
  down: {{url: "{down}", concurrency: {concurrency}}}
  slow: {{url: "{slow}", concurrency: {concurrency}}}
  third: {{url: "{third}", concurrency: {concurrency}}}
endpoints:
  - name: alone
    path: /alone
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstreams: [third]
  - name: three
    path: /three
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstreams: [down, slow, third]
"""


async def _takes_time(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(SLOW)
    await answer(200)(writer)


@asynccontextmanager
async def _down(how: str) -> AsyncIterator[tuple[str, Upstream | None]]:
    if how == "refuses":
        with RefusingPort() as url:
            yield url, None
        return
    async with Upstream(hang) as upstream:
        yield upstream.url, upstream


class Third:
    """The upstream that is well. came: when it got each event, by its body."""

    def __init__(self) -> None:
        self.came: dict[bytes, float] = {}
        self._upstream = Upstream(self._note)

    async def _note(self, writer: asyncio.StreamWriter) -> None:
        self.came.setdefault(self._upstream.received[-1].body, asyncio.get_running_loop().time())
        await answer(200)(writer)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async with self._upstream:
            yield self._upstream.url

    async def follows(self, life: Life, endpoint: str, seconds: int) -> tuple[int, float]:
        """Send at the rate for so long, and wait for the last one.

        Return how many events it is behind what is acknowledged, and how many milliseconds it waits
        from when each is sent; both at the 99th percentile.
        """
        loop, behind, sent = asyncio.get_running_loop(), list[int](), dict[bytes, float]()
        before, acknowledged = len(self.came), 0

        async def send() -> None:
            nonlocal acknowledged
            body = midtrans_body()
            sent[body] = loop.time()
            await accepted(life.public[0], body, endpoint)
            acknowledged += 1
            behind.append(max(0, acknowledged - (len(self.came) - before)))

        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for turn in range(RATE * seconds):
                await asyncio.sleep(start + turn / RATE - loop.time())
                group.create_task(send())
        async with asyncio.timeout(10):
            await self._upstream.has_received(before + len(sent))
            while not sent.keys() <= self.came.keys():  # noqa: ASYNC110 - noted a moment later
                await asyncio.sleep(0)
        delays = [1000 * (self.came[body] - at) for body, at in sent.items()]
        return round(quantiles(behind, n=100)[-1]), quantiles(delays, n=100)[-1]


@pytest.mark.parametrize("how", ["hangs", "refuses"])
@lengths(short=3, long=30)
async def test_the_third_upstream_keeps_up(times: int, how: str, tmp_path: Path) -> None:
    third = Third()
    async with (
        third.serving() as url,
        Upstream(_takes_time) as slow,
        _down(how) as (down_url, down),
    ):
        text = _CONFIGURATION.format(
            down=down_url, slow=slow.url, third=url, concurrency=CONCURRENCY
        )
        async with Restarts(tmp_path, ENVIRON, lambda _: text).next() as life:
            alone, alone_ms = await third.follows(life, "alone", times)
            beside, beside_ms = await third.follows(life, "three", times)
            tell(
                behind_alone=alone,
                behind_beside_two=beside,
                p99_alone=f"{alone_ms:.1f}ms",
                p99_beside_two=f"{beside_ms:.1f}ms",
                at_the_slow_one=len(slow.received),
            )
            # They have been tried, and are far behind.
            assert 0 < len(slow.received) < CONCURRENCY * (times / SLOW + 2)
            if down is not None:
                assert 0 < len(down.received) <= 2 * CONCURRENCY
            assert life.having(event="attempt", upstream="down", decision="done") == []
            every = {"event": "attempt", "decision": "done", "upstream": "third"}
            await life.wait_for(2 * times * RATE, **every)
            third_only = life.having(**every)
            assert len(third_only) == len(third.came) == 2 * times * RATE
            assert {each["attempt"] for each in third_only} == {1}
    assert beside <= max(BOUND * alone, LEAST)
