"""One byte of the database changes while relay is stopped: no damaged event is ever delivered."""

import asyncio
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from relay.core.errors import SpoolUnavailable
from tests.crash import promises
from tests.crash.messages import Message, send_all, some
from tests.harness.deliveries import ENVIRON
from tests.harness.traced_node import WrappedNode
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.proof

_EVENTS = 30


async def _filled(config: Path, directory: Path, sent: list[Message]) -> Path:
    """Return a spool in which these messages wait for delivery, moved out of its log."""
    async with WrappedNode(config, ENVIRON, role="edge") as node:
        answered = await send_all(node.public[0], sent)
        assert {each.status for each in answered} == {200}
        assert await node.end() == 0
    whole = directory / "whole.db"
    config.with_name("relay.db").rename(whole)
    return whole


def _flip(path: Path, dice: Random) -> int:
    """Change one bit or all bits of one byte; return where."""
    content = bytearray(path.read_bytes())
    place = dice.randrange(len(content))
    content[place] ^= dice.choice((0xFF, 1 << dice.randrange(8)))
    path.write_bytes(content)
    return place


def _told(node: WrappedNode) -> set[str]:
    """Return the events that were delivered, or found damaged."""
    done = node.having(event="attempt", decision="done")
    return {line["id"] for line in (*done, *node.having(event="event_damaged"))}


async def _deliver(config: Path) -> WrappedNode:
    """Let relay deliver what it will and return it, ended: all is told, or nothing moves."""
    node = WrappedNode(config, ENVIRON, role="dispatch")
    await node.launch()
    try:
        if await node.listening():
            told, quiet = -1, 0
            while quiet < 8 and len(_told(node)) < _EVENTS and not node.over:
                quiet = quiet + 1 if len(_told(node)) == told else 0
                told = len(_told(node))
                await asyncio.sleep(0.2)
    finally:
        await node.end(signal.SIGKILL)
    return node


async def _read_back(directory: Path, whole: Path, sent: list[Message], seed: int) -> list[str]:
    """Flip a byte and read everything; return what came back other than it was stored.

    An event that is missing, or a spool that refuses to work, is a finding; silence is not.
    """
    path = directory / "relay.db"
    shutil.copyfile(whole, path)
    place = _flip(path, Random(seed))
    here = f"seed {seed}, byte {place}"
    bodies = {message.name: message.body for message in sent}
    try:
        found = await promises.bodies(path)
    except SpoolUnavailable:
        return []
    finally:
        for rest in directory.glob("relay.db*"):
            rest.unlink()
    changed = [
        f"{here}: {name} came back changed"
        for name, body in found.items()
        if body is not None and body != bodies.get(name)
    ]
    # Where the key itself is damaged, the event is there under a name that nobody sent.
    damaged = sum(body is None for body in found.values())
    missing = len(bodies.keys() - found.keys())
    silent = [f"{here}: {missing} not there, {damaged} damaged"] if missing > damaged else []
    return changed + silent


async def _nothing_changed(config: Path, tmp_path: Path, quick: Path, number: int) -> None:
    sent = some(_EVENTS)
    whole = await _filled(config, tmp_path, sent)
    wrong = [each for seed in range(number) for each in await _read_back(quick, whole, sent, seed)]
    assert wrong == []


async def test_no_flipped_byte_is_read_as_if_it_were_sound(
    config: Path, tmp_path: Path, quick: Path
) -> None:
    await _nothing_changed(config, tmp_path, quick, 40)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_no_flipped_byte_of_many_is_read_as_if_it_were_sound(
    config: Path, tmp_path: Path, quick: Path
) -> None:
    await _nothing_changed(config, tmp_path, quick, 2000)


async def _none_delivered(
    config: Path, upstream: Upstream, tmp_path: Path, seeds: Iterable[int]
) -> None:
    """Every event is delivered as it was stored, or its damage is told; never anything else."""
    sent = some(_EVENTS)
    bodies = {message.body for message in sent}
    whole = await _filled(config, tmp_path, sent)
    for seed in seeds:
        for rest in tmp_path.glob("relay.db*"):
            rest.unlink()
        path = tmp_path / "relay.db"
        shutil.copyfile(whole, path)
        place = _flip(path, Random(seed))
        upstream.received.clear()
        node = await _deliver(config)
        arrived = {each.body for each in upstream.received}
        assert arrived <= bodies, f"seed {seed}, byte {place}: damage was delivered"
        damaged = len(node.having(event="event_damaged"))
        complained = bool(node.noise) or bool(node.having(event="dispatch_trouble"))
        missing = len(bodies - arrived)
        assert missing <= damaged or complained, (
            f"seed {seed}, byte {place}: {missing} events did not come and {damaged} were told;"
            f" {node.lines}"
        )


@pytest.mark.timeout(300)
async def test_no_damaged_event_is_delivered(
    config: Path, upstream: Upstream, tmp_path: Path
) -> None:
    await _none_delivered(config, upstream, tmp_path, range(4))


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_no_damaged_event_of_many_is_delivered(
    config: Path, upstream: Upstream, tmp_path: Path
) -> None:
    await _none_delivered(config, upstream, tmp_path, range(200))
