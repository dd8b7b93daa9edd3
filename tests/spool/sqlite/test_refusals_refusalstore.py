"""Refusals in a SQLite spool keep the contract, beside a spool that is at work."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool.refusals import RefusalStore
from relay.spool.sqlite import open_spool
from tests.contracts.refusals import BOUNDS, RefusalContract, ids, refused
from tests.harness.clock import ManualClock


class TestContract(RefusalContract):
    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[RefusalStore]:
        spool = await open_spool(path, ManualClock())
        yield spool.refusals
        await spool.close()


async def test_another_process_sees_what_is_kept(path: Path) -> None:
    one, other = await open_spool(path, ManualClock()), await open_spool(path, ManualClock())
    await one.refusals.keep([refused(1)], BOUNDS)
    assert await ids(other.refusals) == ["ref_001"]
    await one.close()
    await other.close()


async def test_a_closed_spool_keeps_nothing(path: Path) -> None:
    spool = await open_spool(path, ManualClock())
    await spool.close()
    with pytest.raises(SpoolUnavailable, match="closed"):
        await spool.refusals.keep([refused(1)], BOUNDS)
