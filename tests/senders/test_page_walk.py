"""Ready files as a new user follows them: export, check, run, send the sample, see it delivered.

The words are those of the file's first lines and of config/README.md. What is changed are ports
alone, since tests run beside each other.
"""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.harness.node import Node
from tests.harness.ports import free_port
from tests.senders.keys import SENDERS, environ, keys, other_keys, write_key_files

ROOT = Path(__file__).parents[2]
#: Of each kind: HMAC in hexadecimal and Base64, with a time, over fields, over the URL, RSA,
#: Ed25519, SHA-1, a token.
WALKED = (
    *("stripe", "github", "shopify", "slack", "adyen", "square", "wise"),
    *("standard-webhooks-ed25519", "mobilepay", "xendit"),
)


def described_steps(text: str) -> str:
    """Return the comment that the file begins with, as one line."""
    lines = text.partition("\n---\n")[0].splitlines()
    return " ".join(line.lstrip("# ") for line in lines)


async def relay(*words: str, directory: Path, variables: dict[str, str]) -> tuple[int, str, str]:
    """Run a command as a user does, in the directory of the file."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", *words),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode(), complained.decode()


async def sink(port: int, directory: Path) -> asyncio.subprocess.Process:
    """Start `relay sink`, and return once it listens."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "sink", "--bind", f"127.0.0.1:{port}"),
        *("--format", "json"),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    assert await process.stderr.readline()
    return process


async def walk(name: str, directory: Path) -> None:
    text = (SENDERS / f"{name}.yaml").read_text()
    steps = described_steps(text)
    variables = {}
    for variable in re.findall(r"export (\w+)=", steps):
        variables[variable] = environ()[variable]
    assert variables or ".pem" in steps, "the first lines say where the secret goes"
    assert "relay check" in steps
    assert "relay run" in steps
    write_key_files(name, directory)
    public, behind = free_port(), free_port()
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{public}")
    text = text.replace("127.0.0.1:8081", f"127.0.0.1:{behind}")
    file = directory / "relay.yaml"
    file.write_text(text + f'admin: {{bind: "127.0.0.1:{free_port()}"}}\n')

    async def run(*words: str) -> tuple[int, str, str]:
        return await relay(*words, directory=directory, variables=variables)

    code, _, complained = await run("check")
    assert code == 0, complained
    receiver = await sink(behind, directory)
    try:
        async with Node(file, variables) as node:
            # A secret is in the file already; a private key is its sender's.
            given = keys(name)
            private = given.options(directory) if given.option == "--key" else []
            code, said, complained = await run("send", name, *private)
            assert (code, said) == (0, "try\tstatus\tbody\n1\t200\tOK\n"), complained
            await node.wait_for(event="attempt", endpoint=name, outcome="delivered")
            assert receiver.stdout is not None
            assert b"webhook-id" in await receiver.stdout.readline()
            other = other_keys(name).options(directory)
            code, said, complained = await run("send", name, *other)
            assert code == 1
            assert said.startswith("try\tstatus\tbody\n1\t401\t"), complained
            line = await node.wait_for(event="delivery", endpoint=name, verdict="refused")
            assert line["reason"] == "signature_mismatch"
    finally:
        receiver.terminate()
        await receiver.wait()


@pytest.mark.proof
@pytest.mark.parametrize("name", WALKED)
async def test_a_ready_file_is_followed_by_a_new_user(name: str, tmp_path: Path) -> None:
    await walk(name, tmp_path)
