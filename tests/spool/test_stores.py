from pathlib import Path

from relay.core.clock import SystemClock
from relay.spool.sqlite import open_spool
from relay.spool.stores import Stores


async def test_a_spool_has_every_store(path: Path) -> None:
    spool = await open_spool(path, SystemClock())
    names = [name for name, each in vars(Stores).items() if isinstance(each, property)]
    assert len(names) > 5
    assert all(hasattr(spool, name) for name in names)
    await spool.close()
