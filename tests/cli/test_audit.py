"""Acts on the command line, those of all kinds of people."""

import asyncio
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from relay.core.clock import SystemClock
from relay.spool.audit import Act, Actor
from relay.spool.sqlite import open_spool
from tests.cli.conftest import Invoke
from tests.harness.deliveries import RECEIVED

HOSTILE = "a\x1b[31m\u202eb\n<script>"


@pytest.fixture(autouse=True)
def done(config: Path) -> None:
    acts = [
        Act(RECEIVED, Actor.TOKEN, "192.0.2.1", "requeue", {"events": ["evt_1"]}),
        Act(RECEIVED + timedelta(hours=1), Actor.CLI, "maria", "pause", {"upstream": HOSTILE}),
    ]

    async def run() -> None:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        for act in acts:
            await spool.audit.add(act)
        await spool.close()

    asyncio.run(run())


def test_acts_are_listed_the_last_first(relay: Invoke, config: Path) -> None:
    found = relay("audit", "-c", config)
    assert found.exit_code == 0
    heading, last, first = [line.split("\t") for line in found.stdout.splitlines()]
    assert heading == ["at", "act", "actor", "origin", "detail"]
    assert first == [
        *("2026-01-05T12:00:00.000Z", "requeue", "token", "192.0.2.1"),
        '{"events":["evt_1"]}',
    ]
    assert last[1:4] == ["pause", "cli", "maria"]
    assert found.stdout.replace("\n", "").replace("\t", "").isprintable()


@pytest.mark.parametrize(
    ("words", "acts"),
    [
        (("--actor", "token"), ["requeue"]),
        (("--since", "2026-01-05T12:30:00Z"), ["pause"]),
        (("--limit", "1"), ["pause"]),
        (("--since", "2030-01-01"), []),
    ],
)
def test_they_are_narrowed(
    relay: Invoke, config: Path, words: tuple[str, ...], acts: list[str]
) -> None:
    found = relay("audit", "-c", config, "--format", "json", *words)
    assert [each["act"] for each in orjson.loads(found.stdout)["audit"]] == acts


def test_an_actor_that_is_none_is_a_mistake(relay: Invoke, config: Path) -> None:
    found = relay("audit", "-c", config, "--actor", "maria")
    assert found.exit_code == 2
    assert "there are: token, read_token, session, cli" in found.stderr
