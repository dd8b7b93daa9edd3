"""The five minutes of the README, typed as they stand there, end in `delivered`."""

import asyncio
import os
import re
import socket
import sys
from pathlib import Path

from tests.harness.clock import wait_until
from tests.repository import pages

ACTIVATE = ". .venv/bin/activate\n"


def _free_ports(count: int) -> list[int]:
    with_port = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in with_port]
    for each in with_port:
        each.close()
    return ports


def _accepts(port: int) -> bool:
    with socket.socket() as knocking:
        return knocking.connect_ex(("127.0.0.1", port)) == 0


async def test_the_five_minutes_end_in_delivered(tmp_path: Path) -> None:
    relay, service, admin = _free_ports(3)

    def here(text: str) -> str:
        # Other tests may have the usual ports.
        return text.replace("8080", str(relay)).replace("8081", str(service))

    steps = pages.steps("README.md", "## Five minutes")
    assert [step.language for step in steps] == ["sh", "python", "yaml", "sh", "sh", "sh"]
    enter, receiver, config, check, start, send = (here(step.text) for step in steps)
    (stop,) = re.findall(r"^6\. Stop both: `(.*)`\.$", pages.text("README.md"), re.MULTILINE)
    assert enter.startswith(ACTIVATE)
    post, show = send.splitlines(keepends=True)

    directory = tmp_path / "relay-trial"
    directory.mkdir()
    (directory / "receive.py").write_text(receiver)
    (directory / "relay.yaml").write_text(f'{config}admin: {{bind: "127.0.0.1:{admin}"}}\n')
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = await asyncio.create_subprocess_exec(
        "bash",
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path), "PATH": path},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert shell.stdin is not None
    log, received = directory / "relay.log", directory / "received.txt"
    try:
        shell.stdin.write((enter.removeprefix(ACTIVATE) + check + start).encode())
        assert await wait_until(lambda: _accepts(relay) and _accepts(service), 30)
        shell.stdin.write(post.encode())
        assert await wait_until(lambda: '"outcome":"delivered"' in log.read_text(), 30)
        shell.stdin.write(show.encode())
    finally:
        said, _ = await shell.communicate(f"{stop}\nwait\n".encode())
    told = said.decode()
    assert "goes to" in told
    assert "confirm: {with: status} asks before delivery" in told
    assert re.search(r"^1\t200\tOK$", told, re.MULTILINE)
    assert re.search(r"\tmidtrans\tdelivered\t.*\t1\tbilling\t", told)
    assert [line.split()[0][:4] for line in received.read_text().splitlines() if "{" in line] == [
        "evt_"
    ]
    assert not _accepts(relay)
