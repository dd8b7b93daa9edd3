"""Requeueing on the command line: to another upstream, counted, slowed, and asked for."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from relay.admin.requeueing import Order
from relay.cli.progress import progress
from relay.cli.requeue import _Outcome, _requeue
from relay.config import load
from relay.core.clock import SystemClock
from relay.core.event import Dead, Delivered, Done, Rejected, Status
from relay.spool.audit import Act, Actor
from relay.spool.history import Query
from relay.spool.sqlite import open_spool
from tests.cli.conftest import Invoke
from tests.harness.deliveries import verified
from tests.harness.terminal import Terminal


@pytest.fixture(autouse=True)
def ledger(config: Path) -> None:
    """Configure one more upstream."""
    text = config.read_text()
    config.write_text(text.replace('1/"}}', '1/"}, ledger: {url: "http://127.0.0.1:1/"}}'))


def fill(config: Path) -> list[str]:
    """Store a dead event, and one that is delivered after it, about the same; return the ids."""

    async def run() -> list[str]:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        for key, decision, outcome in (
            ("1", Dead(), Rejected(400)),
            ("2", Done(), Delivered(200)),
        ):
            await spool.put(verified(key=key, subject="order-1", event_id=f"evt_{key}"))
            [lease] = (await spool.claim("billing", 1, timedelta(minutes=1), ordered=False)).leases
            await spool.settle(lease, decision, outcome)
        await spool.close()
        return ["evt_1", "evt_2"]

    return asyncio.run(run())


def acts(config: Path) -> list[Act]:
    async def run() -> list[Act]:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        found = await spool.audit.newest(9)
        await spool.close()
        return [*found]

    return asyncio.run(run())


def listed(relay: Invoke, config: Path, event_id: str) -> list[tuple[str, str]]:
    shown = relay("events", "show", event_id, "-c", config, "--format", "json")
    found = orjson.loads(shown.stdout)["destinations"]
    return [(each["upstream"], each["status"]) for each in found]


def test_events_go_to_another_upstream_besides(relay: Invoke, config: Path) -> None:
    dead, _ = fill(config)
    result = relay("events", "requeue", dead, "--to", "ledger", "-c", config)
    assert (result.exit_code, result.stdout) == (0, f"requeued\n{dead}\n")
    assert listed(relay, config, dead) == [("billing", "dead"), ("ledger", "pending")]
    again = relay("events", "requeue", dead, "--to", "ledger", "-c", config)
    assert again.exit_code == 1
    assert "on its way to ledger already" in again.stderr
    [act] = acts(config)
    assert (act.name, act.actor) == ("requeue", Actor.CLI)
    assert act.detail == {"events": [dead], "to": "ledger"}


def test_one_destination_of_an_event_is_requeued(relay: Invoke, config: Path) -> None:
    dead, _ = fill(config)
    relay("events", "requeue", dead, "--to", "ledger", "-c", config)
    result = relay("events", "requeue", dead, "--upstream", "billing", "-c", config)
    assert (result.exit_code, result.stdout) == (0, f"requeued\n{dead}\n")
    assert listed(relay, config, dead) == [("billing", "pending"), ("ledger", "pending")]
    assert acts(config)[0].detail == {"events": [dead], "upstream": "billing"}
    again = relay("events", "requeue", dead, "--upstream", "ledger", "-c", config)
    assert again.exit_code == 1
    assert "it is not dead, held or delivered at ledger" in again.stderr
    both = relay(
        *("events", "requeue", dead, "--upstream", "ledger", "--to", "billing", "-c", config)
    )
    assert (both.exit_code, "give one" in both.stderr) == (2, True)


def test_a_list_names_every_upstream_of_an_event(relay: Invoke, config: Path) -> None:
    dead, delivered = fill(config)
    relay("events", "requeue", dead, "--to", "ledger", "-c", config)
    rows = relay("events", "list", "-c", config).stdout.splitlines()[1:]
    assert {each.split("\t")[-1]: each.split("\t")[-2] for each in rows} == {
        dead: "billing, ledger",
        delivered: "billing",
    }


@pytest.mark.parametrize("words", [("evt_1",), ("--status", "dead", "--yes")])
def test_an_upstream_that_is_not_configured_is_told_with_the_near_name(
    words: tuple[str, ...], relay: Invoke, config: Path
) -> None:
    fill(config)
    result = relay("events", "requeue", *words, "--to", "leger", "-c", config)
    assert result.exit_code == 1
    assert result.stderr == 'no upstream named "leger"; did you mean "ledger"?\n'
    assert acts(config) == []


def test_a_dry_run_counts_and_changes_nothing(relay: Invoke, config: Path) -> None:
    dead, delivered = fill(config)
    words = ("events", "requeue", "--endpoint", "midtrans", "--dry-run", "-c", config)
    result = relay(*words, "--format", "json")
    assert result.exit_code == 0
    assert orjson.loads(result.stdout) == {
        "would_requeue": 2,
        "destinations": [
            {"upstream": "billing", "status": "dead", "number": 1},
            {"upstream": "billing", "status": "delivered", "number": 1},
        ],
    }
    assert relay(*words, "--to", "ledger").stdout.splitlines() == [
        "upstream\tstatus\tnumber",
        "ledger\tnew\t2",
    ]
    assert listed(relay, config, dead) == [("billing", "dead")]
    assert listed(relay, config, delivered) == [("billing", "delivered")]
    none = relay("events", "requeue", "--status", "held", "--dry-run", "-c", config)
    assert (none.exit_code, acts(config)) == (1, [])


def test_a_rate_plans_them_and_is_read_first(relay: Invoke, config: Path) -> None:
    dead, delivered = fill(config)
    words = ("events", "requeue", "--endpoint", "midtrans", "--yes", "-c", config, "--rate")
    assert relay(*words, "fast").exit_code == 2
    assert relay(*words, "1/h").exit_code == 0
    due = []
    for event_id in (dead, delivered):
        shown = relay("events", "show", event_id, "-c", config, "--format", "json")
        due.append(orjson.loads(shown.stdout)["due_at"])
    assert due[0][:10] <= due[1][:10]
    assert due[0] < due[1]
    [act] = acts(config)
    assert act.detail == {
        "events": [dead, delivered],
        "filter": {"endpoint": "midtrans"},
        "rate": "1/h",
    }


async def test_on_a_terminal_it_asks_with_the_number(config: Path) -> None:
    await asyncio.to_thread(fill, config)
    environ = {"MIDTRANS_SERVER_KEY": "x", "VIPPS_SECRET": "y", "RELAY_CONFIG": str(config)}
    relay = f"{sys.executable} -m relay events requeue"
    async with Terminal(config.parent, environ) as terminal:
        terminal.type(f"{relay} --endpoint midtrans --to ledger; echo code $?\n")
        await terminal.shows(r"Requeue 2 events to ledger\? \[y/N\]")
        terminal.type("n\n")
        await terminal.shows(r"code 1\b")
        assert await asyncio.to_thread(acts, config) == []
        terminal.type(f"{relay} evt_1; echo code $?\n")
        await terminal.shows(r"delivered since: evt_1\. .*Relay-Out-Of-Order.*\[y/N\]")
        terminal.type("y\n")
        await terminal.shows(r"code 0\b")
    assert len(await asyncio.to_thread(acts, config)) == 1


async def test_what_was_done_is_on_record_where_it_is_interrupted(config: Path) -> None:
    spool = await open_spool(config.parent / "relay.db", SystemClock())
    stored = [verified(key=str(number), event_id=f"evt_{number}") for number in range(150)]
    await asyncio.gather(*map(spool.put, stored))
    leases = (await spool.claim("billing", 150, timedelta(minutes=1), ordered=False)).leases
    await asyncio.gather(*(spool.settle(lease, Dead(), Rejected(400)) for lease in leases))
    settings = load(config, {"MIDTRANS_SERVER_KEY": "x", "VIPPS_SECRET": "y"})
    outcome, order = _Outcome(), Order(Query(status=Status.DEAD))
    with progress("requeued") as counter:
        task = asyncio.ensure_future(_requeue(spool, order, settings, counter, outcome))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(outcome.ids) == 100
    [act] = await spool.audit.newest(9)
    assert act.detail == {"events": outcome.ids, "filter": {"status": "dead"}}
    await spool.close()
