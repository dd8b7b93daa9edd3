"""A DNS server beside the run: in a thread, so that the run itself can wait."""

import asyncio
import threading
from types import TracebackType
from typing import Self

from tests.harness.nameserver import Behaviour, BrokenNameserver


class Naming:
    """The server, from `with` to the end of it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = BrokenNameserver()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.__aenter__(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._server.__aexit__(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def port(self) -> int:
        return self._server.port

    def answer(self, behaviour: Behaviour) -> None:
        """Answer every question like this from now on."""
        self._loop.call_soon_threadsafe(self._server.both, behaviour)

    def asked(self) -> int:
        """Return how many questions there have been; those over UDP and TCP count apart."""
        return len(self._server.asked)
