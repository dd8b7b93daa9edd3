"""What `relay send FILE` sends is taken by `relay run` with the provider of that file."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relay.cli import application
from tests.senders.keys import FEW, NAMES, SENDERS, keys
from tests.senders.stage import Stage, running


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("senders")) as started:
        yield started


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FEW else pytest.mark.proof) for name in NAMES],
)
def test_a_sample_of_every_file_is_stored_and_delivered(
    name: str, stage: Stage, tmp_path: Path
) -> None:
    stage.check(name)
    before = len(stage.upstream.received)
    words = ["send", str(SENDERS / f"{name}.yaml"), "--to", f"{stage.url}/{name}"]
    done = CliRunner().invoke(
        application(), [*words, *keys(name).options(tmp_path), "--format", "json"]
    )
    assert done.exit_code == 0, done.stderr
    (answered,) = json.loads(done.stdout)
    assert answered["status"] == 200
    assert answered["body"] == "OK" or json.loads(answered["body"])["responseCode"][:3] == "200"
    stage.wait(stage.upstream.has_received(before + 1))
    assert stage.upstream.received[-1].values("Relay-Endpoint") == [name]


def test_another_secret_is_refused(stage: Stage) -> None:
    words = ["send", str(SENDERS / "github.yaml"), "--to", f"{stage.url}/github"]
    done = CliRunner().invoke(application(), [*words, "--secret", "another", "--format", "json"])
    assert done.exit_code == 1
    assert [each["status"] for each in json.loads(done.stdout)] == [401]
