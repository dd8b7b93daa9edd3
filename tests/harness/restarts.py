"""One spool, and one relay after another on it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.harness.ledger import Ledger, of_the_dead
from tests.harness.node import _split
from tests.harness.upstream import Received
from tests.harness.wrapped import RELAY, WrappedNode


class Life(WrappedNode):
    """A relay that is not waited for while it starts: it may be killed before it has.

    start: how many seconds it took until it served; None before.
    """

    start: float | None = None

    async def __aenter__(self) -> Self:
        await self.launch()
        await self.ready()
        return self

    async def launch(self) -> None:
        self._launched = asyncio.get_running_loop().time()
        await super().launch()

    async def ready(self) -> None:
        """Return when it serves."""
        started = await self.wait_for(event="started")
        self.start = asyncio.get_running_loop().time() - self._launched
        self.public = [_split(text) for text in started["public"]]
        self.admin = _split(started["admin"])


class Lives:
    """Starts relays with the same spool. `number` is that of the last one, from 1.

    configuration: returns the text for the life of this number. What it appends to the path of an
    upstream tells which life a request came from (`life_of`).
    """

    def __init__(
        self, directory: Path, environ: dict[str, str], configuration: Callable[[int], str]
    ) -> None:
        self.number = 0
        self.config = directory / "relay.yaml"
        self.spool = directory / "relay.db"
        self.environ = environ
        self._configuration = configuration
        self._lives: list[Life] = []

    @property
    def longest_start(self) -> float:
        """Return the seconds that the slowest start took."""
        return max((life.start for life in self._lives if life.start), default=0.0)

    def next(self, *prefix: str, role: str = "all", program: Sequence[str] = RELAY) -> Life:
        """Return a relay that has not been started yet; `prefix` is a program around it."""
        self.number += 1
        self.config.write_text(self._configuration(self.number))
        life = Life(self.config, self.environ, role, prefix=prefix, program=program)
        self._lives.append(life)
        return life

    def left_behind(self) -> Ledger:
        """Read what the last relay has left, while none runs."""
        return of_the_dead(self.spool)


def path_of(life: int) -> str:
    """Return the path that requests of this life go to."""
    return f"/lives/{life}"


def life_of(request: Received) -> int:
    """Return the number of the life that this request came from."""
    return int(request.target.rsplit("/", 1)[1])
