"""Explains kept refusals for the admin API, without holding up the event loop.

What explains is handed in: it stands above this package.
"""

import asyncio
from collections.abc import Awaitable, Callable

from relay.config import Settings
from relay.core.concurrency import SwitchInterval, run_in_daemon_thread
from relay.spool.refusals import StoredRefusal

#: Returns what the API answers about one refusal, by these settings. Computes for up to a second.
ExplainRefusal = Callable[[Settings, StoredRefusal], dict[str, object]]


def beside_the_loop(
    explain: ExplainRefusal | None,
    settings: Callable[[], Settings],
    switch_interval: SwitchInterval,
) -> Callable[[StoredRefusal], Awaitable[dict[str, object]]] | None:
    """Return what explains one refusal at a time, in a thread of its own; None of None.

    settings: returns those in force.
    """
    if explain is None:
        return None
    lock = asyncio.Lock()

    async def explained(stored: StoredRefusal) -> dict[str, object]:
        def work() -> dict[str, object]:
            with switch_interval.shortened():
                return explain(settings(), stored)

        async with lock:
            return await run_in_daemon_thread(work, "relay-explain")

    return explained
