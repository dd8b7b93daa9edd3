"""Content that is removed for good, in the bytes of the file."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay.core.clock import SystemClock
from relay.core.request import Headers, Keep
from relay.core.sealing import SealingKey
from relay.core.secret import Secret
from relay.spool import Spool
from relay.spool.sqlite import open_spool
from tests.contracts.removal import RemovalContract
from tests.contracts.spool import finish, stored
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

CANARY = b"a-name-that-goes"


class TestContract(RemovalContract):
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(RECEIVED)

    @pytest.fixture(params=[(), (SealingKey(Secret("1" * 64)),)], ids=["plain", "sealed"])
    async def spool(
        self, path: Path, clock: ManualClock, request: pytest.FixtureRequest
    ) -> AsyncIterator[Spool]:
        spool = await open_spool(path, clock, keys=request.param)
        yield spool
        await spool.close()


def raw(path: Path) -> bytes:
    """Return the file and its log."""
    log = path.with_name(path.name + "-wal")
    return path.read_bytes() + (log.read_bytes() if log.exists() else b"")


@pytest.mark.parametrize("size", [10, 100_000])
async def test_nothing_of_what_is_not_kept_stays_in_the_file(path: Path, size: int) -> None:
    spool = await open_spool(path, SystemClock())
    body = b'{"name": "%b", "filler": "%b"}' % (CANARY, b"x" * size)
    fields = Headers((("X-Name", CANARY.decode()),))
    await stored(spool, replace(verified(body=body, headers=fields), keep=Keep.NONE))
    await stored(spool, verified(key="2"))
    assert CANARY in raw(path)
    await finish(spool)
    # The log is cut behind the answer.
    await spool.probe()
    assert CANARY not in raw(path)
    await spool.close()
    assert CANARY not in raw(path)
