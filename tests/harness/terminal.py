"""A shell on a terminal of its own, for what a person types and sees."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_PATIENCE = 30.0
_ROWS, _COLUMNS = 50, 200

# What moves the cursor or colours (ECMA-48), and titles of windows.
_STEERING = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>]|\r|\x07")


class Terminal:
    """An interactive bash. `shown` is what it has shown so far, without what steers a terminal."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = {**os.environ, **environ, "TERM": "xterm", "PS1": "$ ", "HISTFILE": ""}
        self._raw = b""
        self._from = 0
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._process = await asyncio.create_subprocess_exec(
            *("setsid", "--ctty", "bash", "--norc", "--noprofile", "-i"),
            cwd=self._directory,
            env=self._environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        await self.shows(r"\$ ")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # As a window that is closed: everything in it gets SIGHUP.
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        await self._process.wait()

    @property
    def shown(self) -> str:
        return _STEERING.sub("", self._raw.decode(errors="replace"))

    def type(self, text: str) -> None:
        """Type this; what is waited for next comes after it."""
        self._from = len(self.shown)
        os.write(self._ours, text.encode())

    async def shows(self, pattern: str) -> re.Match[str]:
        """Return the match of the pattern in what was shown since the last typing, once it is."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while (found := re.search(pattern, self.shown[self._from :], re.MULTILINE)) is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{pattern!r} is not shown:\n{self.shown}") from None
        return found

    def _read(self) -> None:
        try:
            self._raw += os.read(self._ours, 65536)
        except OSError:
            # The last process on it has ended.
            asyncio.get_running_loop().remove_reader(self._ours)
        self._news.set()
