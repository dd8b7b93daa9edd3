"""Each ready file as a new user takes it: run it, send its sample, have that delivered."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.senders.keys import NAMES, SENDERS, environ, keys, write_key_files

ROOT = Path(__file__).parents[2]


@pytest.mark.proof
@pytest.mark.parametrize("name", NAMES)
async def test_a_ready_file_takes_and_delivers_the_sample_of_itself(
    name: str, tmp_path: Path
) -> None:
    text = (SENDERS / f"{name}.yaml").read_text()
    path = re.search(r"^    path: (\S+)$", text, re.MULTILINE)
    assert path is not None
    write_key_files(name, tmp_path)
    secret = keys(name).options(tmp_path)
    file = tmp_path / f"{name}.yaml"
    async with Upstream() as upstream:
        text = text.replace("http://127.0.0.1:8081", upstream.url)
        text = text.replace("127.0.0.1:8080", "127.0.0.1:0") + 'admin: {bind: "127.0.0.1:0"}\n'
        file.write_text(text)
        async with Node(file, environ()) as node:
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
            played = re.search(rb"playing it for ([0-9.]+), in X-Forwarded-For", told)
            assert played is not None
            assert (await node.wait_for(event="delivery"))["client"] == played[1].decode()
            await node.wait_for(event="attempt", outcome="delivered")
