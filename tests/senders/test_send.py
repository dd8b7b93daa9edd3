"""What `relay send FILE` sends is taken by `relay run` with the provider of that file."""

import asyncio
import json
import re
import threading
from base64 import b64encode
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from relay.cli import application
from relay.cli.demo.services import asymmetric
from relay.config.yaml_document import parse
from tests.harness.node import Node
from tests.harness.upstream import Upstream, answer
from tests.senders.files import NAMES, SENDERS, environ


@dataclass
class Stage:
    """A running relay with an endpoint for every file, and what each sender signs with."""

    url: str
    upstream: Upstream
    loop: asyncio.AbstractEventLoop
    signing: dict[str, tuple[str, str]]

    def wait(self, waiting: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(waiting, self.loop).result(30)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A relay in a thread of its own, because the command runs a loop of its own."""
    directory = tmp_path_factory.mktemp("senders")
    variables, signing = keys(directory)
    ready, stop = threading.Event(), asyncio.Event()
    running: list[Stage] = []

    async def serve() -> None:
        async with Upstream(answer(200)) as upstream:
            config = directory / "relay.yaml"
            config.write_text(configuration(f"{upstream.url}/hooks"))
            async with Node(config, variables) as node:
                loop = asyncio.get_running_loop()
                running.append(Stage(node.url, upstream, loop, signing))
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


def keys(directory: Path) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return the variables of the relay, and for each sender the option that it signs with."""
    rsa, ed25519 = asymmetric(), Ed25519PrivateKey.generate()
    (directory / "wise.pem").write_text(rsa.verifying)
    (directory / "rsa.key").write_bytes(rsa.signing.reveal())
    (directory / "ed25519.key").write_bytes(
        ed25519.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public = b64encode(ed25519.public_key().public_bytes_raw()).decode()
    variables = environ() | {"WEBHOOK_PUBLIC_KEY": f"whpk_{public}"}
    signing = {
        name: ("--secret", variables[found[1]])
        for name in NAMES
        if (found := re.search(r"secrets: .*env:(\w+)", (SENDERS / f"{name}.yaml").read_text()))
    }
    signing["wise"] = ("--key", str(directory / "rsa.key"))
    signing["standard-webhooks-ed25519"] = ("--key", str(directory / "ed25519.key"))
    return variables, signing


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_every_file_is_stored_and_delivered(name: str, stage: Stage) -> None:
    before = len(stage.upstream.received)
    words = ["send", str(SENDERS / f"{name}.yaml"), "--to", f"{stage.url}/{name}"]
    done = CliRunner().invoke(application(), [*words, *stage.signing[name], "--format", "json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == [{"status": 200, "body": "OK"}]
    stage.wait(stage.upstream.has_received(before + 1))
    assert stage.upstream.received[-1].values("Relay-Endpoint") == [name]


def test_another_secret_is_refused(stage: Stage) -> None:
    words = ["send", str(SENDERS / "github.yaml"), "--to", f"{stage.url}/github"]
    done = CliRunner().invoke(application(), [*words, "--secret", "another", "--format", "json"])
    assert done.exit_code == 1
    assert [each["status"] for each in json.loads(done.stdout)] == [401]
