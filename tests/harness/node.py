"""`relay run` as a process of its own, as an operator starts it, and commands beside it."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import orjson

from tests.harness.clock import wait_until
from tests.harness.deliveries import ENVIRON
from tests.harness.wire import exchange, request

_PATIENCE = 20.0


class Node:
    """A running relay. `lines` are its log lines so far; `public` is where it listens.

    said: what all nodes of this process have written to standard error, as they wrote it.
    """

    said: ClassVar[list[bytes]] = []

    def __init__(
        self,
        config: Path,
        environ: Mapping[str, str] | None = None,
        role: str = "all",
        *,
        options: Sequence[str] = (),
        program: str = "",
    ) -> None:
        """Take its configuration. program: text of Python that is run instead of relay."""
        self._config = config
        self._environ = {**os.environ, **(environ or {})}
        self._role = role
        self._options = tuple(options)
        self._module = ("-c", program) if program else ("-m", "relay")
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self.lines: list[dict[str, Any]] = []
        self.noise: list[str] = []
        self.public: list[tuple[str, int]] = []
        self.admin: tuple[str, int] = ("", 0)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(*self._module, "run", "-c", str(self._config), "--role", self._role),
            *self._options,
            env=self._environ,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.get_running_loop().create_task(self._read())
        self.listens(await self.wait_for(event="started"))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end(signal.SIGKILL)

    def listens(self, started: Mapping[str, Any]) -> None:
        """Take the addresses from its log line `started`."""
        self.public = [_split(text) for text in started["public"]]
        self.admin = _split(started["admin"])

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        assert self._process is not None
        assert self._reader is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(_PATIENCE):
            code = await self._process.wait()
            await self._reader
        return code

    async def wait_for(self, number: int = 1, **fields: object) -> dict[str, Any]:
        """Return the last of `number` log lines that have these fields."""
        try:
            async with asyncio.timeout(_PATIENCE), self._news:
                await self._news.wait_for(lambda: len(self.having(**fields)) >= number)
        except TimeoutError:
            raise AssertionError(f"no {fields} in {self.lines} {self.noise}") from None
        return self.having(**fields)[number - 1]

    def having(self, **fields: object) -> list[dict[str, Any]]:
        """Return the log lines that have these fields."""
        return [line for line in self.lines if fields.items() <= line.items()]

    async def metric(self, series: str) -> float:
        """Return the value of a series that it exposes, as `conflicts_total{endpoint="x"}`."""
        shown = (await exchange(self.admin, request("GET", "/metrics"))).body.decode()
        found = re.search(rf"^relay_{re.escape(series)} (\S+)$", shown, re.MULTILINE)
        assert found is not None, series
        return float(found[1])

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.public[0])

    @property
    def admin_url(self) -> str:
        return "http://{}:{}".format(*self.admin)

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            self.said.append(raw)
            async with self._news:
                try:
                    self.lines.append(orjson.loads(raw))
                except orjson.JSONDecodeError:
                    self.noise.append(raw.decode())
                self._news.notify_all()


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def listening(log: Path) -> tuple[str, int]:
    """Return where a relay listens that writes this log, once it says so."""
    # A line is written a moment after what it tells.
    assert await wait_until(lambda: b'"public"' in log.read_bytes(), _PATIENCE), log.read_text()
    [started] = [line for line in log.read_text().splitlines() if '"public"' in line]
    return _split(orjson.loads(started)["public"][0])


def install(program: Path, tree: Path, *words: str) -> None:
    """Make a program of what `python -m` and these words are in a tree."""
    program.write_text(f"""#!/bin/sh
export PYTHONPATH={tree}
exec {sys.executable} -P -m {" ".join(words)} "$@"
""")
    program.chmod(0o755)


async def command(
    config: Path, *words: str, environ: Mapping[str, str] = ENVIRON
) -> tuple[int, str, str]:
    """Type `relay` and these words; return exit code, output and error output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", *words, "-c", str(config)),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def output(config: Path, *words: str, environ: Mapping[str, str] = ENVIRON) -> str:
    """Type `relay` and these words, which have to succeed; return the output."""
    code, said, errors = await command(config, *words, environ=environ)
    assert code == 0, errors
    return said
