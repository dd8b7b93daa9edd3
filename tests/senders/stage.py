"""One running relay with every file of config/senders: once storing, once passing on.

It runs in a thread of its own, because commands that tests call run loops of their own. A file that
is no good configuration is left out, and `broken` says what is wrong with it: the others run.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from relay.config.yaml_document import parse
from relay.core.errors import ConfigError
from tests.harness.node import Node
from tests.harness.upstream import Upstream, answer
from tests.senders.files import loaded
from tests.senders.keys import NAMES, SENDERS, environ, write_key_files

T = TypeVar("T")
STORE, PROXY = "store", "proxy"
MODES = (STORE, PROXY)


@dataclass
class Stage:
    """The running relay, and the upstream behind it."""

    url: str
    address: tuple[str, int]
    upstream: Upstream
    node: Node
    loop: asyncio.AbstractEventLoop
    broken: Mapping[str, str] = field(default_factory=dict)

    def wait(self, waiting: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(waiting, self.loop).result(30)

    def check(self, name: str) -> None:
        """Fail for a sender whose file was left out, with what is wrong with it."""
        assert name not in self.broken, f"config/senders/{name}.yaml: {self.broken.get(name)}"


def endpoint_name(name: str, mode: str) -> str:
    return name if mode == STORE else f"{name}-passed-on"


def path(name: str, mode: str) -> str:
    return f"/{endpoint_name(name, mode)}"


@contextmanager
def running(directory: Path) -> Iterator[Stage]:
    """Run a relay with all files that can be read."""
    broken = _broken(directory)
    for name in NAMES:
        write_key_files(name, directory)
    ready, stop = threading.Event(), asyncio.Event()
    started: list[Stage] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        try:
            async with Upstream(answer(200)) as upstream:
                config = directory / "relay.yaml"
                config.write_text(configuration(f"{upstream.url}/hooks", broken))
                async with Node(config, environ()) as node:
                    loop = asyncio.get_running_loop()
                    stage = Stage(node.url, node.public[0], upstream, node, loop, broken)
                    started.append(stage)
                    ready.set()
                    await stop.wait()
        except BaseException as error:
            failed.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    assert not failed, failed
    try:
        yield started[0]
    finally:
        started[0].loop.call_soon_threadsafe(stop.set)
        thread.join()


def configuration(upstream: str, left_out: Mapping[str, str] = {}) -> str:
    """Return one configuration with two endpoints for each file; JSON is YAML enough for it."""
    endpoints: list[dict[str, Any]] = []
    limits: dict[str, Any] = {}
    for name in NAMES:
        if name in left_out:
            continue
        data: Any = parse((SENDERS / f"{name}.yaml").read_text()).data
        if "body" in data.get("limits", {}):
            limits = max(limits, data["limits"], key=lambda each: _mebibytes(each.get("body", "")))
        for mode in MODES:
            own = {"name": endpoint_name(name, mode), "path": path(name, mode), "mode": mode}
            endpoints.append({**data["endpoints"][0], **own, "upstream": "billing"})
    return json.dumps(
        {
            "listen": [{"bind": "127.0.0.1:0"}],
            "admin": {"bind": "127.0.0.1:0"},
            "trusted_proxies": ["127.0.0.1"],
            "limits": limits,
            "upstreams": {"billing": {"url": upstream}},
            "endpoints": endpoints,
        }
    )


def _mebibytes(text: str) -> int:
    return int(text.removesuffix("MiB") or 0)


def _broken(directory: Path) -> dict[str, str]:
    """Return what is wrong with each file that is no good configuration."""
    found: dict[str, str] = {}
    for name in NAMES:
        own = directory / name
        own.mkdir()
        try:
            loaded(name, own)
        except ConfigError as error:
            found[name] = str(error)
    return found
