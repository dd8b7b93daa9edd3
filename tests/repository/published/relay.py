"""The relay that is recorded: its commands, and a running process of it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_DRIVER = Path(__file__).with_name("driver.py")
_TIMEOUT = 30.0

#: `-P`: what is installed there, and not what lies in the current directory.
_ISOLATED = "-P"


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str


class Commands:
    """Runs `relay` commands of one interpreter's environment in one directory."""

    def __init__(self, python: str, directory: Path, environ: Mapping[str, str]) -> None:
        self._python = python
        self._directory = directory
        self._environ = dict(environ)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(self._python, _ISOLATED, str(_DRIVER)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        said = await self._ask(None)
        self.package = Path(said["package"])
        self.declared: dict[str, dict[str, str]] = said["commands"]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def run(self, *words: str) -> Result:
        request = {"words": words, "directory": str(self._directory), "environ": self._environ}
        return Result(**await self._ask(request))

    async def _ask(self, request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(_TIMEOUT):
            line = await self._process.stdout.readline()
        assert line, "the commands cannot be run: see what stands above"
        return json.loads(line)


class Running:
    """`relay run` of one interpreter's environment. `lines` are its log lines so far.

    driver: what runs `relay`, as Python is told it.
    """

    def __init__(self, python: str, config: Path, driver: Sequence[str] = ("-m", "relay")) -> None:
        self._words = (python, _ISOLATED, *driver, "run", "-c", str(config))
        self._news = asyncio.Condition()
        self.lines: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._words, stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
        )
        self._reader = asyncio.get_running_loop().create_task(self._read())
        started = (await self.has_said("started"))[0]
        self.public = [_address(text) for text in started["public"]]
        self.admin = _address(started["admin"])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._reader

    async def has_said(self, event: str, number: int = 1) -> list[dict[str, Any]]:
        """Return all lines of an event, once there are this many."""
        try:
            async with asyncio.timeout(_TIMEOUT), self._news:
                await self._news.wait_for(lambda: len(self.said(event)) >= number)
        except TimeoutError:
            tail = "\n".join(map(str, self.lines[-5:]))
            raise AssertionError(f"{len(self.said(event))} {event} of {number}:\n{tail}") from None
        return self.said(event)

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def stop(self) -> int:
        """Stop it in good order and return its exit code."""
        self.tell(signal.SIGTERM)
        async with asyncio.timeout(_TIMEOUT):
            return await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            try:
                line = json.loads(raw)
            except ValueError:
                sys.stderr.write(raw.decode())
                continue
            async with self._news:
                self.lines.append(line)
                self._news.notify_all()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
