"""Keys are known by their fingerprints, and the rows of each are found."""

from pathlib import Path

import apsw
import pytest

from relay.core.sealing import SealingKey
from relay.core.secret import Secret
from relay.spool import Spool
from relay.spool.sqlite import keyring, open_spool
from tests.contracts.sealing import K0
from tests.contracts.spool import stored, take
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.conftest import PATIENCE


@pytest.fixture
def file(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path))


async def opened(path: Path) -> Spool:
    return await open_spool(path, ManualClock(RECEIVED), keys=[K0], busy_timeout=PATIENCE)


async def test_a_key_is_known_by_its_fingerprint_and_a_wrong_one_opens_nothing(
    path: Path, file: apsw.Connection
) -> None:
    spool = await opened(path)
    await stored(spool, verified(event_id="first"))
    await spool.close()
    # As if the wrong key had the right fingerprint.
    other = SealingKey(Secret("9" * 64))
    file.execute("UPDATE sealing_keys SET fingerprint = ?", (bytes.fromhex(other.fingerprint),))
    spool = await open_spool(path, ManualClock(RECEIVED), keys=[other])
    assert (await take(spool)).damaged == ("first",)
    await spool.close()


async def test_the_rows_of_a_key_are_found_by_an_index(path: Path, file: apsw.Connection) -> None:
    for statement in (keyring._ANY, keyring._COUNT):
        plan = [row[-1] for row in file.execute(f"EXPLAIN QUERY PLAN {statement}", (1,))]
        searches = [each for each in plan if "SEARCH" in each]
        assert len(searches) == 3
        assert all("COVERING INDEX" in each for each in searches), plan
        assert not any("SCAN events" in each for each in plan)
