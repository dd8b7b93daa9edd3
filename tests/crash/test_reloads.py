"""Reloads under load, good files and bad ones: no request and no event is lost."""

import asyncio
import signal
from pathlib import Path
from random import Random

from tests.crash import promises
from tests.crash.lengths import dice, lengths, tell
from tests.crash.relays import MESSAGES, lives
from tests.harness.consistency import check_consistency
from tests.harness.deliveries import BEARER
from tests.harness.restarts import Kind, Life, Load
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, request

#: Seconds under load between two reloads at most.
_SERVING = 0.2


_MORE = """
  - name: more
    path: /more
    provider: midtrans
    environment: sandbox
    secrets: ["${env:MIDTRANS_SERVER_KEY}"]
    upstream: more
"""


def _good(text: str, chance: Random) -> str:
    """Return what may be taken: the upstream is another one than before, or all is as it was."""
    text = text.replace("concurrency: 32", f"concurrency: {chance.randint(1, 40)}")
    text = text.replace("timeout: 5s", f"timeout: {chance.randint(5, 9)}s")
    if chance.random() < 0.5:
        more = 'upstreams:\n  more: {url: "http://127.0.0.1:1"}'
        text = text.replace("upstreams:", more) + _MORE
    return text


def _bad(text: str, chance: Random) -> str:
    """Return what must not be taken."""
    return chance.choice(
        [
            "",
            text[: len(text) // 2],
            text + "]",
            text.replace("upstream: billing", "upstream: biling"),
            text.replace("${env:MIDTRANS_SERVER_KEY}", "${env:NOBODY_SETS_THIS}"),
            text.replace("path: relay.db", "path: other.db"),
            text.replace("concurrency: 32", "concurrency: 0"),
            "\0" + text,
        ]
    )


@lengths(short=20, long=100)
async def test_reloads_lose_nothing(times: int, tmp_path: Path, upstream: Upstream) -> None:
    chance = dice()
    relays = lives(tmp_path, {"billing": upstream.url})
    load = Load(MESSAGES, chance)
    async with relays.next() as life:
        text = relays.config.read_text()
        taken = 0
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(life.public[0]))
            for _ in range(times):
                await asyncio.sleep(chance.uniform(0, _SERVING))
                good = chance.random() < 0.6
                taken += good
                relays.config.write_text(_good(text, chance) if good else _bad(text, chance))
                await _reload(life, chance, 200 if good else 422)
            # What was answered up to here was answered while relay ran.
            answers = dict(load.answers)
            load_end = asyncio.get_running_loop().time()
            assert await life.end() == 0
        assert asyncio.get_running_loop().time() - load_end < 10
        assert life.noise == []
        assert life.having(event="reload_fault") == []
    genuine = {status for kind, status in answers if kind is not Kind.FORGED}
    forged = {status for kind, status in answers if kind is Kind.FORGED}
    assert genuine == {200}, f"a genuine message was lost: {answers}"
    assert forged <= {400, 401, 403}
    relays.config.write_text(text)
    left = relays.left_behind().having("pending")
    async with relays.next() as last:
        _, new = await promises.came_again(last, load)
        await promises.has_delivered(last, *left, *new)
        audit = await check_consistency(last, relays)
        assert await last.end() == 0
    load.check()
    promises.stored_what_it_should(audit, load)
    promises.delivered_what_it_stored(audit, upstream.received)
    tell(reloads=times, taken=taken, stored=len(audit.rows), answers=answers)


async def _reload(life: Life, chance: Random, expected: int) -> None:
    """Have the file read again, by a few signals or none, and by asking."""
    for _ in range(chance.choice([0, 0, 1, 10])):
        life.send(signal.SIGHUP)
    reply = await exchange(life.admin, request("POST", "/-/reload", [BEARER]))
    assert reply.status == expected, reply
