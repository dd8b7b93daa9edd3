"""The status: what the spool, the settings and the process say, put together."""

from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay import __version__
from relay.admin.status import HOURS, Node, Process, read_status
from relay.allowlist import Allowlist, Mode, SourceStatus, StaticSource
from relay.config import Settings, load_text
from relay.core.event import Dead, Unreachable
from relay.core.request import Verdict
from relay.spool.activity import Activity, hour_of
from relay.spool.audit import Actor
from relay.spool.sqlite import SqliteSpool, open_spool
from tests.contracts.spool import finish, stored
from tests.harness.clock import ManualClock
from tests.harness.deliveries import ENVIRON, RECEIVED, configuration, verified

Read = Callable[..., Coroutine[Any, Any, dict[str, Any]]]

NOW = RECEIVED + timedelta(minutes=30)


class Answered(StaticSource):
    """A host whose address was confirmed ten minutes ago."""

    def status(self) -> SourceStatus:
        return SourceStatus("hooks.example.com", 1, NOW - timedelta(minutes=10), None)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SqliteSpool]:
    spool = await open_spool(tmp_path / "relay.db", ManualClock())
    yield spool
    await spool.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_text(configuration("http://127.0.0.1:1/in"), "relay.yaml", ENVIRON, tmp_path)


@pytest.fixture
def read(spool: SqliteSpool, settings: Settings) -> Read:
    async def read(process: Process | None = None) -> dict[str, Any]:
        return await read_status(spool, spool.activity, settings, process or Process(), NOW)

    return read


async def test_of_an_empty_spool_nothing_needs_anybody(read: Read, settings: Settings) -> None:
    found = await read()
    assert list(found) == ["version", "nodes", "endpoints", "upstreams", "attention", "spool"]
    assert (found["version"], found["nodes"]) == (__version__, [])
    assert [row["name"] for row in found["endpoints"]] == [each.name for each in settings.endpoints]
    first = found["endpoints"][0]
    assert first == {
        "name": "midtrans",
        "provider": "midtrans",
        "last_delivery_at": None,
        "verdicts_24h": dict.fromkeys(Verdict, 0),
        "hours": [0] * HOURS,
        "allowlist": {"addresses": None, "age_seconds": None},
    }
    [upstream] = found["upstreams"]
    assert (upstream["name"], upstream["breaker"]) == ("billing", None)
    assert found["attention"] == [] or found["attention"][0]["kind"] == "disk_low"
    assert found["spool"]["bytes"] > 0
    assert found["spool"]["free_bytes"] > 0


async def test_deliveries_of_the_last_24_hours_are_added_up(spool: SqliteSpool, read: Read) -> None:
    hour = hour_of(NOW)
    counted = [
        Activity(hour, "midtrans", "accepted", 5),
        Activity(hour, "midtrans", "refused", 100),
        Activity(hour - timedelta(hours=1), "midtrans", "duplicate", 2),
        Activity(hour - timedelta(hours=23), "midtrans", "accepted", 1),
        Activity(hour - timedelta(hours=24), "midtrans", "accepted", 1000),
        Activity(hour, "of another file", "accepted", 7),
    ]
    await spool.activity.add(counted, {"midtrans": RECEIVED})
    row = (await read())["endpoints"][0]
    assert row["last_delivery_at"] == "2026-01-05T12:00:00.000Z"
    numbers = {name: number for name, number in row["verdicts_24h"].items() if number}
    assert numbers == {"accepted": 6, "refused": 100, "duplicate": 2}
    # What was turned away is no sign that the provider comes as ever.
    assert row["hours"] == [1, *[0] * 21, 2, 5]


async def test_the_process_tells_of_itself_and_of_what_it_knows(read: Read) -> None:
    networks = StaticSource("listed", [("192.0.2.0/24", "x"), ("198.51.100.7/32", "x")])
    lists = Allowlist([networks, Answered("dns", [("203.0.113.9/32", "dns")])])
    process = Process(
        nodes=[Node("pay-1", "edge", RECEIVED, "0123456789abcdef")],
        allowlists={"midtrans": (Mode.REPORT, lists)},
        breakers={"billing": True},
        certificates={"0.0.0.0:8443": NOW + timedelta(days=1)},
        reload_refused_at=RECEIVED,
    )
    found = await read(process)
    assert found["nodes"] == [
        {
            "name": "pay-1",
            "version": __version__,
            "role": "edge",
            "since": "2026-01-05T12:00:00.000Z",
            "configuration": "0123456789abcdef",
        }
    ]
    assert found["endpoints"][0]["allowlist"] == {"addresses": 3, "age_seconds": 600}
    assert found["upstreams"][0]["breaker"] == "open"
    kinds = [each["kind"] for each in found["attention"] if each["kind"] != "disk_low"]
    assert kinds == ["upstream_down", "report_mode", "certificate_ends", "reload_refused"]
    assert found["attention"][-1]["since"] == "2026-01-05T12:00:00.000Z"


async def test_an_allowlist_without_host_names_has_no_age(read: Read) -> None:
    lists = Allowlist([StaticSource("listed", [("192.0.2.0/24", "x")])])
    found = await read(Process(allowlists={"midtrans": (Mode.ENFORCE, lists)}))
    assert found["endpoints"][0]["allowlist"] == {"addresses": 1, "age_seconds": None}


async def test_what_waits_and_what_is_paused_is_told(spool: SqliteSpool, read: Read) -> None:
    await stored(spool, verified(key="1"))
    await finish(spool, Dead(), Unreachable("refused"))
    await stored(spool, verified(key="2"))
    await spool.pauses.pause("billing", Actor.CLI, RECEIVED)
    found = await read()
    [row] = found["upstreams"]
    assert (row["backlog"], row["oldest_at"]) == (1, "2026-01-05T12:00:00.000Z")
    assert row["paused"] is True
    said = [each for each in found["attention"] if each["kind"] != "disk_low"]
    assert [(each["kind"], each["number"]) for each in said] == [
        ("upstream_paused", 1),
        ("dead", 1),
    ]
    assert {each["since"] for each in said} == {"2026-01-05T12:00:00.000Z"}


async def test_without_its_spool_it_says_so(spool: SqliteSpool, read: Read) -> None:
    await spool.close()
    found = await read(Process(breakers={"billing": False}))
    assert [each["kind"] for each in found["attention"]] == ["spool_unavailable"]
    assert found["spool"] == {"bytes": None, "free_bytes": None}
    assert found["upstreams"][0]["breaker"] == "closed"
