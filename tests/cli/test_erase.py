"""Erasing on the command line, on a spool that nobody serves."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson

from relay.core.clock import SystemClock
from relay.core.event import Dead, Delivered, Done, Rejected
from relay.spool.audit import Act
from relay.spool.sqlite import open_spool
from tests.cli.conftest import Invoke
from tests.contracts.refusals import BOUNDS, refused
from tests.harness.deliveries import verified

FIND = ("--find", "order-17")


def fill(config: Path) -> tuple[str, str, str]:
    """Store a delivered, a dead and a pending event of one order, and a refusal; return the ids."""

    async def run() -> tuple[str, str, str]:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        named = (("order_id", "order-17"),)
        ids = []
        for key in ("paid", "settled", "refunded"):
            event = verified(key=f"order-17 {key}", body=b"order-17", references=named)
            ids.append((await spool.put(event)).id)
        longer = verified(key="other", references=(("order_id", "order-170"),))
        await spool.put(longer)
        claimed = await spool.claim("billing", 2, timedelta(minutes=1), ordered=False)
        done, dead = claimed.leases
        await spool.settle(done, Done(), Delivered(200))
        await spool.settle(dead, Dead(), Rejected(500))
        kept = replace(refused(1, body=b"order-17"), references=named)
        await spool.refusals.keep([kept], BOUNDS)
        await spool.close()
        return ids[0], ids[1], ids[2]

    return asyncio.run(run())


async def _acts(config: Path) -> tuple[Act, ...]:
    spool = await open_spool(config.parent / "relay.db", SystemClock())
    acts = await spool.audit.newest(10)
    await spool.close()
    return acts


def test_what_is_delivered_is_erased_and_the_rest_is_said_to_stay(
    relay: Invoke, config: Path
) -> None:
    delivered, dead, pending = fill(config)
    result = relay("events", "erase", "-c", config, *FIND, "--yes")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["erased", delivered]
    said = result.stderr.splitlines()
    assert said[0] == "1 more event only begin with it, and stay"
    assert said[1] == "1 event and 1 refusal erased"
    assert said[2].startswith(f"{pending}: not erased: it is pending; deliver it first, or add")
    assert said[3].startswith(f"{dead}: not erased: it is dead; ")
    shown = relay("events", "show", delivered, "-c", config).stdout
    assert "body\terased at a person's request" in shown
    assert "order-17" not in shown
    assert relay("refusals", "list", "-c", config).stdout.count("ref_") == 0


def test_all_of_it_in_json(relay: Invoke, config: Path) -> None:
    ids = fill(config)
    words = ("events", "erase", "-c", config, *FIND, "--yes", "--include-undelivered")
    result = relay(*words, "--format", "json")
    assert result.exit_code == 0
    shown = orjson.loads(result.stdout)
    assert sorted(shown.pop("erased")) == sorted(ids)
    assert shown == {"refusals": 1, "left": [], "beginnings": 1}
    assert b"order-17\x22" not in (config.parent / "relay.db").read_bytes()
    [act] = asyncio.run(_acts(config))
    assert act.name == "erase"
    assert (act.detail["find"], act.detail["refusals"]) == ("***", 1)
    assert "order-17" not in str(act)
    again = relay(*words)
    assert again.exit_code == 1
    assert "nothing erased" in again.stderr


def test_it_asks_or_wants_to_be_told_before(relay: Invoke, config: Path) -> None:
    fill(config)
    result = relay("events", "erase", "-c", config, *FIND)
    assert result.exit_code == 2
    assert "add --yes" in result.stderr
    assert relay("events", "erase", "-c", config, "--find", "", "--yes").exit_code == 2
    assert relay("events", "erase", "-c", config, "--find", "nobody", "--yes").exit_code == 1
