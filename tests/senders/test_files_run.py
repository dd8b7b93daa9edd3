"""Each ready file as a new user takes it: run it, send its sample, have that delivered."""

import asyncio
import os
import re
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.contracts.provider import new_rsa_keys
from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.senders.files import NAMES, SENDERS, environ

ROOT = Path(__file__).parents[2]


def signing(name: str, directory: Path) -> tuple[dict[str, str], list[str]]:
    """Return the environment of the relay, and how the sender is told its half of the secret."""
    given, private = environ(), directory / "private.pem"
    if name == "wise":
        keys = new_rsa_keys()
        (directory / "wise.pem").write_bytes(keys.verifying.reveal())
        private.write_bytes(keys.signing.reveal())
        return given, ["--key", str(private)]
    if name == "standard-webhooks-ed25519":
        key = Ed25519PrivateKey.generate()
        public = b64encode(key.public_key().public_bytes_raw()).decode()
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return given | {"WEBHOOK_PUBLIC_KEY": f"whpk_{public}"}, ["--key", str(private)]
    variable = re.search(r"secrets: .*env:(\w+)", (SENDERS / f"{name}.yaml").read_text())
    assert variable is not None
    return given, ["--secret", given[variable[1]]]


@pytest.mark.parametrize("name", NAMES)
async def test_a_ready_file_takes_and_delivers_the_sample_of_itself(
    name: str, tmp_path: Path
) -> None:
    text = (SENDERS / f"{name}.yaml").read_text()
    path = re.search(r"^    path: (\S+)$", text, re.MULTILINE)
    assert path is not None
    variables, secret = signing(name, tmp_path)
    file = tmp_path / f"{name}.yaml"
    async with Upstream() as upstream:
        text = text.replace("http://127.0.0.1:8081", upstream.url)
        text = text.replace("127.0.0.1:8080", "127.0.0.1:0") + 'admin: {bind: "127.0.0.1:0"}\n'
        file.write_text(text)
        async with Node(file, variables) as node:
            host, port = node.public[0]
            words = ("send", str(file), "--to", f"http://{host}:{port}{path[1]}", *secret)
            sending = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "relay", *words),
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            said, told = await sending.communicate()
            assert (sending.returncode, said.decode().splitlines()[-1][:5]) == (0, "1\t200")
            # Without more than the page says: the proxy that the file trusts is played.
            assert b"playing it for 192.0.2.7, in X-Forwarded-For" in told
            assert (await node.wait_for(event="delivery"))["client"] == "192.0.2.7"
            await node.wait_for(event="attempt", outcome="delivered")
