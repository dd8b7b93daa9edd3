"""A spool is prepared before it serves: leases nobody holds are due, what is stuck is told of."""

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.app.serving_spool import prepare_spool
from relay.app.spools import open_spool
from relay.config.loader import load_text
from relay.core.event import Dead, Rejected
from relay.spool.history import LONGEST_SPREAD, Query, Spread
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.contracts.spool import stored, take, take_one
from tests.harness.clock import ManualClock
from tests.harness.deliveries import ENVIRON, configuration, verified


class Told:
    """A telemetry and the lines that it has written."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._writer = LogWriter(self._stream)
        self.telemetry = Telemetry(Log(self._writer, ManualClock()))

    def lines(self) -> list[dict[str, Any]]:
        self._writer.close()
        return [orjson.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    told.lines()


@pytest.mark.parametrize(("delivers", "recovered"), [(True, ["recovered"]), (False, [])])
async def test_leases_of_a_process_that_is_gone_are_due_where_this_one_delivers(
    tmp_path: Path, told: Told, *, delivers: bool, recovered: list[str]
) -> None:
    settings = load_text(configuration("http://127.0.0.1:1"), "relay.yaml", ENVIRON, tmp_path)
    gone = await open_spool(settings, ManualClock())
    await stored(gone, verified())
    assert len((await take(gone)).leases) == 1
    await gone.close()
    spool = await open_spool(settings, ManualClock())
    await prepare_spool(spool, settings, told.telemetry, delivers=delivers)
    assert len((await take(spool)).leases) == len(recovered)
    assert [line["event"] for line in told.lines()] == recovered
    await spool.close()


async def test_events_for_an_upstream_that_is_not_configured_are_told_of(
    tmp_path: Path, told: Told
) -> None:
    settings = load_text(configuration("http://127.0.0.1:1"), "relay.yaml", ENVIRON, tmp_path)
    spool = await open_spool(settings, ManualClock())
    for number, upstream in enumerate(("gone", "billing", "gone", "away")):
        await stored(spool, verified(key=str(number), upstream=upstream))
    await prepare_spool(spool, settings, told.telemetry, delivers=False)
    assert [(line["event"], line["upstream"]) for line in told.lines()] == [
        ("upstream_missing", "away"),
        ("upstream_missing", "gone"),
    ]
    await spool.close()


async def test_what_a_person_has_planned_stays_planned_through_a_restart(
    tmp_path: Path, told: Told
) -> None:
    text = configuration("http://127.0.0.1:1")
    settings = load_text(text, "relay.yaml", ENVIRON, tmp_path)
    assert max(settings.upstreams["billing"].retry.schedule) < timedelta(hours=1)
    clock = ManualClock()
    before = await open_spool(settings, clock)
    event_id = await stored(before, verified())
    lease = await take_one(before)
    await before.settle(lease, Dead(), Rejected(400))
    spread = Spread(delay=LONGEST_SPREAD - timedelta(minutes=1))
    assert (await before.requeue(Query(ids=(event_id,)), spread=spread)).ids == (event_id,)
    await before.close()
    spool = await open_spool(settings, clock)
    await prepare_spool(spool, settings, told.telemetry, delivers=True)
    assert (await take(spool)).leases == ()
    await clock.advance(spread.delay.total_seconds())
    assert (await take_one(spool)).event.id == event_id
    await spool.close()
