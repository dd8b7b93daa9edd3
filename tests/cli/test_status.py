"""The status on the command line where no relay runs: the spool tells."""

import asyncio
from pathlib import Path

import orjson
import pytest

from relay.core.clock import SystemClock
from relay.spool.activity import Activity, hour_of
from relay.spool.sqlite import open_spool
from tests.cli.conftest import CONFIGURATION, Invoke
from tests.cli.test_reload import closed
from tests.harness.deliveries import verified

__all__ = ["closed"]


@pytest.fixture
def stopped(config: Path, closed: int) -> Path:
    """Give the file of a relay that has stopped, whose spool has an event and some hours."""
    old = 'admin: {bind: "127.0.0.1:0"}'
    new = f'admin: {{bind: "127.0.0.1:{closed}", token: "0123456789abcdef"}}'
    config.write_text(CONFIGURATION.replace(old, new))

    async def run() -> None:
        clock = SystemClock()
        spool = await open_spool(config.parent / "relay.db", clock)
        await spool.put(verified())
        hour = hour_of(clock.now())
        counted = [Activity(hour, "midtrans", "accepted", 3)]
        await spool.activity.add(counted, {"midtrans": clock.now()})
        await spool.close()

    asyncio.run(run())
    return config


def test_the_spool_tells_what_it_knows_and_why_it_is_asked(
    relay: Invoke, stopped: Path, closed: int
) -> None:
    found = relay("status", "-c", stopped, "--format", "json")
    assert found.exit_code == 0
    assert found.stderr.startswith(f"relay status: no relay answers at 127.0.0.1:{closed}")
    assert found.stderr.endswith("; read from the spool\n")
    told = orjson.loads(found.stdout)
    assert list(told) == ["version", "nodes", "endpoints", "upstreams", "attention", "spool"]
    assert told["nodes"] == []
    midtrans, vipps = told["endpoints"]
    assert midtrans["verdicts_24h"]["accepted"] == 3
    assert midtrans["last_delivery_at"] is not None
    # What the file lists is known without the relay.
    assert midtrans["allowlist"]["addresses"] > 0
    assert vipps["last_delivery_at"] is None
    [billing] = told["upstreams"]
    assert (billing["backlog"], billing["breaker"]) == (1, None)


def test_a_pipe_gets_one_record_a_line(relay: Invoke, stopped: Path) -> None:
    lines = [line.split("\t") for line in relay("status", "-c", stopped).stdout.splitlines()]
    kinds = [line[0] for line in lines if line[0] != "attention"]
    assert kinds == ["endpoint", "endpoint", "upstream", "spool"]
    assert ["upstream", "billing"] in [line[:2] for line in lines]


def test_without_relay_and_spool_it_says_both(relay: Invoke, stopped: Path) -> None:
    (stopped.parent / "relay.db").unlink()
    found = relay("status", "-c", stopped)
    assert found.stdout == ""
    assert "no relay answers" in str(found.exception)
    assert "there is no spool at" in str(found.exception)


def test_a_mistake_in_the_file_is_one(relay: Invoke, stopped: Path) -> None:
    stopped.write_text(stopped.read_text() + "nonsense: 1\n")
    assert str(relay("status", "-c", stopped).exception).startswith(f"{stopped}:")
