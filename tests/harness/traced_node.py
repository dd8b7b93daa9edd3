"""`relay run` behind another program: a tracer, a limit, or a launcher of a control experiment."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.harness.node import Node, _split

RELAY = ("-m", "relay")


class WrappedNode(Node):
    """A node whose process is `prefix... python program... run -c config`.

    The prefix must end by becoming Python itself (as `strace -D` and `prlimit` do), so that
    signals and the exit code are relay's own.
    """

    def __init__(
        self,
        config: Path,
        environ: Mapping[str, str] | None = None,
        role: str = "all",
        *,
        prefix: Sequence[str] = (),
        program: Sequence[str] = RELAY,
    ) -> None:
        super().__init__(config, environ, role)
        self._prefix = tuple(prefix)
        self._program = tuple(program)

    async def __aenter__(self) -> Self:
        await self.launch()
        assert await self.listening(), f"it ended: {self.lines} {self.noise}"
        return self

    async def launch(self) -> None:
        """Start the process; it may never come so far as to say `started`."""
        self._process = await asyncio.create_subprocess_exec(
            *self._prefix,
            sys.executable,
            *self._program,
            *("run", "-c", str(self._config), "--role", self._role),
            env=self._environ,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def listening(self) -> bool:
        """Wait until it listens or has ended; return whether it listens."""
        assert self._reader is not None
        started = asyncio.get_running_loop().create_task(self.wait_for(event="started"))
        await asyncio.wait({started, self._reader}, return_when=asyncio.FIRST_COMPLETED)
        if not self.having(event="started"):
            started.cancel()
            return False
        said = await started
        self.public = [_split(text) for text in said["public"]]
        self.admin = _split(said["admin"])
        return True

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        assert self._process is not None
        return self._process.returncode is not None

    async def ended(self, within: float = 20.0) -> int:
        """Wait for the process to end by itself, and return its exit code."""
        assert self._process is not None
        assert self._reader is not None
        async with asyncio.timeout(within):
            code = await self._process.wait()
            await self._reader
        return code
