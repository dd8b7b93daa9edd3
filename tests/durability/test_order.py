"""No answer of success leaves before the event it answers has been synced."""

from pathlib import Path

import pytest

from tests.durability.conftest import CONTROL, Life, some, trace
from tests.durability.ordering import answers, directory_synced, unsynced

pytestmark = [pytest.mark.debian, pytest.mark.proof]


async def test_every_success_leaves_after_its_sync(tmp_path: Path) -> None:
    traced = await trace(tmp_path, Life(some(60)))
    left = list(answers(traced.calls))
    assert {each.name for each in left} == {each.name for each in traced.sent}
    assert unsynced(traced.calls, traced.log) == []
    for name in ("relay.db", "relay.db-wal"):
        assert directory_synced(traced.calls, str(tmp_path / name), left[0].left)


async def test_a_spool_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    traced = await trace(tmp_path, Life(some(60)), program=CONTROL)
    assert len(unsynced(traced.calls, traced.log)) > 0.9 * len(traced.sent)
