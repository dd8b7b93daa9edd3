"""What `relay send FILE` sends is taken by `relay run` with the provider of that file."""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from relay.cli import application
from relay.config.yaml_document import parse
from tests.harness.node import Node
from tests.harness.upstream import Upstream, answer
from tests.senders.keys import NAMES, SENDERS, environ, keys, write_key_files


@dataclass
class Stage:
    """A running relay with an endpoint for every file."""

    url: str
    upstream: Upstream
    loop: asyncio.AbstractEventLoop

    def wait(self, waiting: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(waiting, self.loop).result(30)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A relay in a thread of its own, because the command runs a loop of its own."""
    directory = tmp_path_factory.mktemp("senders")
    for name in NAMES:
        write_key_files(name, directory)
    ready, stop = threading.Event(), asyncio.Event()
    running: list[Stage] = []

    async def serve() -> None:
        async with Upstream(answer(200)) as upstream:
            config = directory / "relay.yaml"
            config.write_text(configuration(f"{upstream.url}/hooks"))
            async with Node(config, environ()) as node:
                loop = asyncio.get_running_loop()
                running.append(Stage(node.url, upstream, loop))
                ready.set()
                await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield running[0]
    running[0].loop.call_soon_threadsafe(stop.set)
    thread.join()


def configuration(upstream: str) -> str:
    """Return one configuration with the endpoints of all files, which JSON is YAML enough for."""
    endpoints = []
    for name in NAMES:
        data: Any = parse((SENDERS / f"{name}.yaml").read_text()).data
        endpoints.append({**data["endpoints"][0], "name": name, "path": f"/{name}"})
    return json.dumps(
        {
            "listen": [{"bind": "127.0.0.1:0"}],
            "admin": {"bind": "127.0.0.1:0"},
            "upstreams": {"billing": {"url": upstream}},
            "endpoints": endpoints,
        }
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_every_file_is_stored_and_delivered(
    name: str, stage: Stage, tmp_path: Path
) -> None:
    before = len(stage.upstream.received)
    words = ["send", str(SENDERS / f"{name}.yaml"), "--to", f"{stage.url}/{name}"]
    done = CliRunner().invoke(
        application(), [*words, *keys(name).options(tmp_path), "--format", "json"]
    )
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == [{"status": 200, "body": "OK"}]
    stage.wait(stage.upstream.has_received(before + 1))
    assert stage.upstream.received[-1].values("Relay-Endpoint") == [name]


def test_another_secret_is_refused(stage: Stage) -> None:
    words = ["send", str(SENDERS / "github.yaml"), "--to", f"{stage.url}/github"]
    done = CliRunner().invoke(application(), [*words, "--secret", "another", "--format", "json"])
    assert done.exit_code == 1
    assert [each["status"] for each in json.loads(done.stdout)] == [401]
