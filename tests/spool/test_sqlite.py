"""The SQLite spool keeps the contract, and what a file on a disk can do to it."""

from pathlib import Path

import pytest

from relay.clock import Clock
from relay.spool import Spool
from relay.spool.sqlite import open_spool
from tests.contracts.spool import Opener, SpoolContract


class TestContract(SpoolContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        async def open_one_more(clock: Clock) -> Spool:
            return await open_spool(tmp_path / "relay.db", clock)

        return open_one_more
