"""A sealed spool in a file: nothing of its content lies there, and damage is told from it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from relay.core.clock import Clock
from relay.core.sealing import SealingKey
from relay.spool import Spool
from relay.spool.sqlite import open_spool
from tests.contracts.copies import CopiesContract
from tests.contracts.fan_out import FanOutContract
from tests.contracts.finding import FindingContract
from tests.contracts.history import HistoryContract
from tests.contracts.refusals import RefusalContract
from tests.contracts.requeueing import RequeueContract
from tests.contracts.sealing import K0, OpenWith, SealingContract
from tests.contracts.spool import Opener, SpoolContract


class TestContract(SealingContract):
    @pytest.fixture
    def open_with(self, path: Path) -> OpenWith:
        async def open_one_more(clock: Clock, keys: Sequence[SealingKey]) -> Spool:
            return await open_spool(path, clock, keys=keys)

        return open_one_more


class Sealed:
    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        async def open_one_more(clock: Clock) -> Spool:
            return await open_spool(path, clock, keys=[K0])

        return open_one_more


@pytest.mark.proof
class TestSealedSpool(
    Sealed,
    SpoolContract,
    CopiesContract,
    FanOutContract,
    HistoryContract,
    RequeueContract,
    FindingContract,
):
    """A sealed spool keeps to everything that a plain one does."""


class TestSealedRefusals(Sealed, RefusalContract):
    """So do its refusals."""
