"""A refusal is explained beside the event loop, by the settings in force, one at a time."""

import asyncio
import threading
from pathlib import Path

from relay.app.explaining import beside_the_loop
from relay.config import Settings
from relay.core.concurrency import SwitchInterval
from relay.spool.refusals import StoredRefusal
from tests.app.test_runtime import settings
from tests.contracts.refusals import refused
from tests.harness.deliveries import configuration

KEPT = StoredRefusal(refused(1), 1, None, None)


async def test_it_computes_in_a_thread_one_after_the_other(tmp_path: Path) -> None:
    in_force = settings(tmp_path, configuration("http://127.0.0.1:1"))
    entered, leave = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    running: list[str] = []

    def explain(given: Settings, stored: StoredRefusal) -> dict[str, object]:
        assert given is in_force
        running.append(threading.current_thread().name)
        loop.call_soon_threadsafe(entered.set)
        leave.wait()
        return {"id": stored.refused.id}

    explained = beside_the_loop(explain, lambda: in_force, SwitchInterval())
    assert explained is not None
    both = [asyncio.ensure_future(explained(KEPT)) for _ in range(2)]
    # The loop runs while the first computes, and the second has not begun.
    await entered.wait()
    assert running == ["relay-explain"]
    leave.set()
    assert await asyncio.gather(*both) == [{"id": "ref_001"}] * 2
