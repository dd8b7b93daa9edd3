"""Strangers in a SQLite spool keep the contract."""

from pathlib import Path

import pytest

from relay.core.clock import Clock
from relay.spool import Spool
from relay.spool.sqlite import open_spool
from tests.contracts.spool import Opener
from tests.contracts.strangers import StrangerContract


class TestContract(StrangerContract):
    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        async def open_one_more(clock: Clock) -> Spool:
            return await open_spool(path, clock)

        return open_one_more
