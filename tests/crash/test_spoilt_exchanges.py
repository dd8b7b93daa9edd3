"""An upstream behind a line that spoils exchanges in every way gets everything in the end."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash import fault_proxy, promises
from tests.crash.fault_proxy import CONTINUE, FaultProxy, instead
from tests.crash.lengths import lengths, parts
from tests.crash.relays import accepted, lives
from tests.harness.consistency import check_consistency
from tests.harness.deliveries import midtrans_body
from tests.harness.restarts import Life, Restarts
from tests.harness.upstream import (
    Received,
    Upstream,
    answer,
    close,
    half_close,
    hang,
    repeat,
    reset,
    send,
)

pytestmark = pytest.mark.proof

#: Milliseconds: how long one attempt may take, and how far it may overrun that.
_TIMEOUT, _OVERRUN = 1000, 1000

#: How many events there are at once, and workers for them: fewer than what opens the breaker.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to spoil the first attempt of each event.

    told: outcome, and status or cause, of that attempt as relay must take it.
    arrives: how often the event reaches the upstream behind the proxy.
    """

    fault: fault_proxy.Fault
    told: tuple[str, object]
    arrives: int = 1


MODES = {
    "hang": Mode(instead(hang), ("unreachable", "timeout")),
    "reset": Mode(instead(reset), ("unreachable", "reset")),
    "half-close": Mode(instead(half_close), ("unreachable", "closed")),
    "close": Mode(instead(close), ("unreachable", "closed")),
    "slow": Mode(fault_proxy.slow, ("unreachable", "timeout"), arrives=2),
    "5xx": Mode(instead(answer(500)), ("rejected", 500)),
    "huge": Mode(fault_proxy.huge, ("rejected", 503)),
    "endless": Mode(fault_proxy.endless, ("delivered", 200)),
    "garbage": Mode(
        instead(send(b"\x16\x03\x01 not HTTP\r\n\r\n", close)), ("unreachable", "malformed")
    ),
    "continue first": Mode(fault_proxy.continue_first, ("delivered", 200)),
    "continue only": Mode(instead(repeat(CONTINUE, 0.02)), ("unreachable", "timeout")),
}


def relays_of(directory: Path, proxy: FaultProxy) -> Restarts:
    return lives(directory, {"billing": proxy.url}, timeout=f"{_TIMEOUT}ms", concurrency=_AT_ONCE)


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
@lengths(short=_AT_ONCE, long=100)
async def test_a_spoilt_exchange_is_made_good(
    times: int, mode: Mode, tmp_path: Path, proxy: FaultProxy, upstream: Upstream
) -> None:
    def choose(request: Received) -> fault_proxy.Fault:
        return mode.fault if request.values("Relay-Attempt") == ["1"] else fault_proxy.nothing

    proxy.choose = choose
    relays = relays_of(tmp_path, proxy)
    sent: list[bytes] = []
    async with relays.next() as life:
        for number in parts(times, _AT_ONCE):
            sent += await _send(number, life)
            await life.wait_for(len(sent), event="attempt", decision="done")
        first = life.having(event="attempt", attempt=1)
        assert Counter(map(_told, first)) == {mode.told: times}
        await _ended_well(life, relays, proxy, upstream, sent, arrives=mode.arrives)


@lengths(short=_AT_ONCE, long=100)
async def test_a_port_that_refuses_is_tried_again(
    times: int, tmp_path: Path, proxy: FaultProxy, upstream: Upstream
) -> None:
    relays = relays_of(tmp_path, proxy)
    sent: list[bytes] = []
    async with relays.next() as life:
        for number in parts(times, _AT_ONCE):
            await proxy.refuse()
            refused = len(life.having(event="attempt", cause="refused"))
            sent += await _send(number, life)
            await life.wait_for(refused + number, event="attempt", cause="refused")
            await proxy.listen()
            await life.wait_for(len(sent), event="attempt", decision="done")
        assert {_told(line) for line in life.having(event="attempt", decision="retry")} == {
            ("unreachable", "refused")
        }
        await _ended_well(life, relays, proxy, upstream, sent, arrives=1)


async def _send(number: int, life: Life) -> list[bytes]:
    bodies = [midtrans_body() for _ in range(number)]
    await asyncio.gather(*(accepted(life.public[0], body) for body in bodies))
    return bodies


def _told(line: dict[str, object]) -> tuple[object, object]:
    return line["outcome"], line.get("status", line.get("cause"))


async def _ended_well(
    life: Life,
    relays: Restarts,
    proxy: FaultProxy,
    upstream: Upstream,
    sent: list[bytes],
    *,
    arrives: int,
) -> None:
    """Raise AssertionError when something is lost, or a worker is stuck."""
    # The only clock is relay's own: how long it says that each attempt has taken.
    longest = max(line["duration_ms"] for line in life.having(event="attempt"))
    assert longest <= _TIMEOUT + _OVERRUN
    assert Counter(each.body for each in upstream.received) == dict.fromkeys(sent, arrives)
    assert len(promises.by_id(upstream.received)) == len(sent)
    sent += await _every_worker_is_free(life, proxy)
    audit = await check_consistency(life, relays)
    assert await life.end() == 0
    assert life.noise == []
    assert audit.bodies == dict.fromkeys(sent, 1)
    assert {row.status for row in audit.rows} == {"delivered"}


async def _every_worker_is_free(life: Life, proxy: FaultProxy) -> list[bytes]:
    """Let as many events as there are workers wait for each other; return their bodies."""
    before = len(life.having(event="attempt", decision="done"))
    together = asyncio.Barrier(_AT_ONCE)

    async def wait_for_the_others(exchange: fault_proxy.Exchange) -> None:
        await together.wait()
        await fault_proxy.nothing(exchange)

    proxy.choose = lambda _: wait_for_the_others
    bodies = await _send(_AT_ONCE, life)
    await life.wait_for(before + _AT_ONCE, event="attempt", decision="done")
    # With fewer workers the first ones would have waited for the last until their time was up.
    assert [line["attempt"] for line in life.having(event="attempt")[-_AT_ONCE:]] == [1] * _AT_ONCE
    return bodies
