"""Ids of events, by their beginning."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.admin.short_ids import AmbiguousId, whole_id
from relay.spool import Spool
from relay.spool.sqlite import open_spool
from tests.harness.clock import ManualClock
from tests.harness.deliveries import verified


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = await open_spool(tmp_path / "relay.db", ManualClock())
    yield spool
    await spool.close()


async def test_a_beginning_that_is_one_alone_s_is_its_id(spool: Spool) -> None:
    for event_id in ("evt_01ab", "evt_01abcd", "evt_02", *(f"evt_9{n}" for n in range(9))):
        await spool.put(verified(key=event_id, event_id=event_id))
    assert await whole_id(spool, "evt_01abc") == "evt_01abcd"
    assert await whole_id(spool, "evt_02") == "evt_02"
    # It is whole, though another one begins like it.
    assert await whole_id(spool, "evt_01ab") == "evt_01ab"
    # None begins like these; the shortest are no beginnings.
    for none in ("evt_3", "EVT_01abc", "evt", "", "evt_%", "\ud800\ud800\ud800\ud800"):
        assert await whole_id(spool, none) == none


async def test_a_beginning_of_several_says_which(spool: Spool) -> None:
    for number in range(8):
        event_id = f"evt_9{number}"
        await spool.put(verified(key=event_id, event_id=event_id))
    with pytest.raises(AmbiguousId) as refused:
        await whole_id(spool, "evt_9")
    assert str(refused.value) == (
        "several events begin with evt_9: evt_90, evt_91, evt_92, evt_93, evt_94, ..."
    )
