"""What deploy/Dockerfile does, done in a directory: there is no Docker engine everywhere.

Its COPY and RUN lines are carried out with `/src` and `/opt` below that directory, and what they
have made is run as the image's user, who may write to the volume alone.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.node import listening
from tests.harness.ports import free_port
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange
from tests.repository import pages

pytestmark = [pytest.mark.pypi, pytest.mark.proof]

_USER = 10001


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile: words and arguments, with lines joined."""
    text = (pages.ROOT / "deploy/Dockerfile").read_text()
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for line in lines for word, _, rest in [line.partition(" ")]]


def stages() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the instructions of the stage that builds, and of the image."""
    found = instructions()
    last = max(at for at, (word, _) in enumerate(found) if word == "FROM")
    return found[:last], found[last:]


def one(word: str) -> str:
    """Return the arguments of an instruction that the image has once."""
    [rest] = [rest for each, rest in stages()[1] if each == word]
    return rest


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """Give the directory in which the first stage has been carried out."""
    # Not below pytest's own, which others than its owner may not enter.
    root = Path(tempfile.mkdtemp(prefix="relay-image-"))
    root.chmod(0o755)
    try:
        _build(root)
        yield root
    finally:
        shutil.rmtree(root)


def _interpreter() -> Path:
    """Return a Python that every user may run: one below /root is root's alone."""
    for path in (Path(sys.executable).resolve(), Path("/usr/bin/python3")):
        if path.exists() and all(each.stat().st_mode & 0o001 for each in (path, *path.parents)):
            return path
    pytest.skip("NOT BUILT as the image is: no Python that every user may run (python3-venv)")


def _build(root: Path) -> None:
    binaries = root / "usr/bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(_interpreter())
    environ = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
    source = root / "src"
    for word, rest in stages()[0]:
        if word == "COPY":
            *names, target = rest.split()
            for name in names:
                copied = source / target / Path(name).name
                copied.parent.mkdir(parents=True, exist_ok=True)
                if (pages.ROOT / name).is_dir():
                    shutil.copytree(pages.ROOT / name, source / target, dirs_exist_ok=True)
                else:
                    shutil.copy(pages.ROOT / name, copied)
        elif word == "RUN":
            here = rest.replace("/opt/", f"{root}/opt/")
            done = subprocess.run(
                ["sh", "-euc", here],
                cwd=source,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            if "Could not find a version" in done.stderr or "Connection" in done.stderr:
                pytest.skip(f"NOT BUILT as the image is: {done.stderr[-300:]}")
            assert done.returncode == 0, done.stderr


@pytest.mark.timeout(300)
def test_it_holds_what_is_locked_and_no_tools(image: Path) -> None:
    python = image / "opt/relay/bin/python"
    asked = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    installed = subprocess.run(
        [python, "-Ic", asked], capture_output=True, text=True, check=True
    ).stdout.split()
    text = (pages.ROOT / "deploy/requirements.txt").read_text()
    locked = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
    elsewhere = {"colorama"}  # Windows alone
    assert set(map(canonicalize_name, installed)) == {*locked, "relay"} - elsewhere
    # A read-only file system keeps no bytecode: it is there from the start.
    modules = [*(image / "opt/relay").rglob("relay/**/*.py")]
    assert modules
    assert [each for each in modules if not [*each.parent.glob(f"__pycache__/{each.stem}.*")]] == []


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED as another user: this takes root")
async def test_its_user_serves_and_writes_to_the_volume_alone(
    image: Path, upstream: Upstream
) -> None:
    volume, settings = image / "var/lib/relay", image / "etc/relay/relay.yaml"
    volume.mkdir(parents=True, mode=0o700)
    os.chown(volume, _USER, _USER)
    settings.parent.mkdir(parents=True)
    admin = free_port()
    text = configuration(upstream.url).replace("path: relay.db", f"path: {volume}/relay.db")
    settings.write_text(
        text.replace("127.0.0.1:0", f"127.0.0.1:{admin}").replace(
            f'listen: [{{bind: "127.0.0.1:{admin}"', 'listen: [{bind: "127.0.0.1:0"', 1
        )
    )
    assert one("USER") == f"{_USER}:{_USER}"
    environ = {
        name: value.replace("/opt/", f"{image}/opt/").replace("/etc/", f"{image}/etc/")
        for name, _, value in (each.partition("=") for each in one("ENV").split())
    }
    environ["PATH"] = environ["PATH"].replace("$PATH", "/usr/bin:/bin")
    command = [*json.loads(one("ENTRYPOINT")), *json.loads(one("CMD"))]
    assert command == ["relay", "run"]
    before = {each for each in image.rglob("*") if volume not in each.parents}
    log = volume / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(  # noqa: ASYNC220 - it runs on
            [shutil.which(command[0], path=environ["PATH"]) or "", *command[1:]],
            cwd=volume,
            env={**ENVIRON, **environ},
            stderr=written,
            user=_USER,
            group=_USER,
            extra_groups=[],
            umask=0o022,
        )
    try:
        reply = await exchange(await listening(log), midtrans_request(midtrans_body()))
        assert reply.status == 200
        _, _, check = one("HEALTHCHECK").partition("CMD ")
        words = json.loads(check.replace("9464", str(admin)))
        healthy = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
        assert healthy.returncode == 0, healthy.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert {each for each in image.rglob("*") if volume not in each.parents} == before
    assert {each.name for each in volume.iterdir()} >= {"relay.db", "relay.db-ballast"}
    unhealthy = subprocess.run(words, env=environ, capture_output=True, check=False)
    assert unhealthy.returncode == 1


def test_the_build_sees_what_is_copied_and_nothing_else() -> None:
    shown = {
        line.removeprefix("!")
        for line in (pages.ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        name for word, rest in stages()[0] if word == "COPY" for name in shlex.split(rest)[:-1]
    }
    assert shown == copied
