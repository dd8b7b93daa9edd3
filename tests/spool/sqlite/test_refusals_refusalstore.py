"""Refusals in a SQLite spool keep the contract, beside a spool that is at work."""

from pathlib import Path

import pytest

from relay.core.clock import Clock
from relay.spool import Spool
from relay.spool.sqlite import open_spool
from tests.contracts.refusals import RefusalContract
from tests.contracts.spool import Opener


class TestContract(RefusalContract):
    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        async def open_one_more(clock: Clock) -> Spool:
            return await open_spool(path, clock)

        return open_one_more
