"""Opening a spool writes what is new, and leaves nothing open that it could not open whole."""

from pathlib import Path

import pytest

from relay.spool.sealing import KeyMissing
from relay.spool.sqlite import events, open_spool
from relay.spool.sqlite.opening import open_file
from tests.contracts.sealing import K0, K1
from tests.contracts.spool import stored
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.conftest import PATIENCE


def test_nothing_is_written_by_opening_with_keys_that_are_known(path: Path) -> None:
    for changes in (1, 0):
        opened = open_file(path, PATIENCE, [K0])
        assert opened.writing.total_changes() == changes
        opened.reading.close()
        opened.writing.close()


def test_a_new_key_has_its_number_before_anything_is_sealed_with_it(path: Path) -> None:
    for keys, known in (([K0], [1]), ([K1, K0], [1, 2])):
        opened = open_file(path, PATIENCE, keys)
        found = events.fetch(opened.reading, "SELECT id FROM sealing_keys ORDER BY id")
        assert [number for (number,) in found] == known
        assert opened.keyring.writes == (known[-1], keys[0])
        opened.reading.close()
        opened.writing.close()


async def test_a_file_that_was_refused_is_not_held_open(path: Path) -> None:
    spool = await open_spool(path, ManualClock(RECEIVED), keys=[K0])
    await stored(spool, verified())
    await spool.close()
    with pytest.raises(KeyMissing):
        open_file(path, PATIENCE, [K1])
    held = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert not [each for each in held if each.name.startswith(path.name)]
