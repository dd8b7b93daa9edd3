"""A stand-in, not a part of the bench: `relay` whose spool stores nothing and says so at once.

What is left is what it costs to accept. It is run as `python stubbed.py run -c relay.yaml`; relay
itself has no such switch. Real are the process, the edge, and ingest; as from a real spool, the
answers come an iteration later, those of one iteration together.
"""

import asyncio
from collections.abc import Callable

from relay.core.request import VerifiedDelivery
from relay.spool import PutResult, Stored
from relay.spool.sqlite import SqliteSpool

_Done = Callable[[PutResult], None]


class _Pending:
    """Needs nothing to be called off: the answer comes before anybody could."""

    def withdraw(self) -> None:
        """Do nothing."""


class _Stub:
    """Answers each event of an iteration in the next one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, _Done]] = []
        self._pending = _Pending()

    def put_nowait(self, event: VerifiedDelivery, done: _Done) -> _Pending:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._answer)
        self._waiting.append((event.event_id, done))
        return self._pending

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for name, done in waiting:
            done(Stored(name))


async def _put(spool: object, event: VerifiedDelivery, within: float | None = None) -> Stored:
    return Stored(event.event_id)


if __name__ == "__main__":
    stub = _Stub()
    SqliteSpool.put_nowait = lambda _, *given: stub.put_nowait(*given)  # type: ignore[assignment, method-assign]
    SqliteSpool.put = _put  # type: ignore[assignment, method-assign]
    from relay.cli import main

    main()
