"""The samples that config/README.md sends are accepted by the examples beside them."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.harness.node import Node
from tests.harness.ports import free_port
from tests.repository import pages
from tests.repository.test_examples import secret_for

PAGE = "config/README.md"
#: Of Vipps, an address is known only once DNS was asked; the demo plays that.
SAMPLES = [
    line
    for block in pages.blocks("sh", (PAGE,))
    for line in block.text.replace("\\\n", "").splitlines()
    if line.startswith("relay send") and not line.endswith("--endpoint vipps")
]
_NEEDED = ("MIDTRANS_SERVER_KEY", "GITHUB_WEBHOOK_SECRET", "SNAP_CLIENT_SECRET")
ENVIRON = {name: secret_for(name) for name in _NEEDED}


def _endpoints() -> list[dict[str, Any]]:
    """Return the page's examples that need no host names, and GitHub's."""
    found = [block.text for block in pages.blocks("yaml", (PAGE,))]
    found.append((pages.ROOT / "config/senders/github.yaml").read_text())
    every = [each for text in found for each in yaml.safe_load(text).get("endpoints", [])]
    chosen = [each for each in every if each["name"] in ("midtrans", "snap", "bank", "github")]
    # Nobody may be asked from here, and the answer does not wait for it.
    return [{key: each[key] for key in each if key != "confirm"} for each in chosen]


def _write(directory: Path) -> str:
    """Write the configuration and its keys; return where it listens."""
    private = rsa.generate_private_key(65537, 2048)
    pem = serialization.Encoding.PEM
    (directory / "private.pem").write_bytes(
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (directory / "keys").mkdir()
    for name in ("midtrans-snap", "bank"):
        (directory / f"keys/{name}.pem").write_bytes(
            private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    whole = yaml.safe_load((pages.ROOT / "config/relay.minimal.yaml").read_text())
    bind = f"127.0.0.1:{free_port()}"
    whole |= {"listen": [{"bind": bind}], "admin": {"bind": "127.0.0.1:0"}}
    whole["endpoints"] = _endpoints()
    (directory / "relay.yaml").write_text(yaml.safe_dump(whole))
    (directory / "config").symlink_to(pages.ROOT / "config")
    return bind


async def test_every_sample_is_accepted(tmp_path: Path) -> None:
    assert [line.split()[2:4] for line in SAMPLES] == [
        ["--endpoint", "midtrans"],
        ["--endpoint", "snap"],
        ["--endpoint", "bank"],
        ["config/senders/github.yaml", "--to"],
    ]
    bind = _write(tmp_path)
    async with Node(tmp_path / "relay.yaml", ENVIRON):
        for line in SAMPLES:
            here = line.replace("127.0.0.1:8080", bind)
            filled = re.sub(r"\$(\w+)", lambda name: ENVIRON[name[1]], here)
            sending = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "relay", *shlex.split(filled)[1:]),
                cwd=tmp_path,
                env=os.environ | ENVIRON | {"PYTHONPATH": str(pages.ROOT)},
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await sending.communicate()
            assert (sending.returncode, said.decode().splitlines()[-1][:5]) == (0, "1\t200")


@pytest.mark.parametrize("name", ["midtrans", "snap", "vipps"])
def test_every_page_of_a_provider_sends_a_sample(name: str) -> None:
    page = pages.text(PAGE)
    assert f"\nrelay send --endpoint {name}" in page
    assert f"  - name: {name}\n" in page
