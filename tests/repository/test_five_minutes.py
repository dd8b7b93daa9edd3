"""The five minutes of the README, typed as they stand there, end in `delivered`."""

import os
import socket
import sys
from pathlib import Path

import pytest
import yaml

from tests.harness.ports import free_port
from tests.harness.terminal import Terminal
from tests.repository import pages

ACTIVATE = ". .venv/bin/activate"


def _accepts(port: int) -> bool:
    with socket.socket() as knocking:
        return knocking.connect_ex(("127.0.0.1", port)) == 0


def _lines(step: pages.Block) -> list[str]:
    return step.text.splitlines()


@pytest.mark.timeout(180)
async def test_the_five_minutes_end_in_delivered(tmp_path: Path) -> None:
    relay, service, admin = (free_port() for _ in range(3))
    steps = pages.steps("README.md", "## Five minutes")
    assert [step.language for step in steps] == ["sh", "yaml", "sh", "sh", "sh"]
    enter, written, check, start, send = steps
    (sink, run), (first, second) = _lines(start), (_lines(enter)[0], _lines(send)[0])
    assert first == second == ACTIVATE
    directory = tmp_path / "relay-trial"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"HOME": str(tmp_path), "PATH": path}
    async with Terminal(tmp_path, environ) as one, Terminal(tmp_path, environ) as two:
        for line in _lines(enter)[1:]:
            one.type(line + "\n")
            await one.shows(r"\$ $|\]: $")
        while not (directory / "relay.yaml").exists():
            one.type("\n")
            await one.shows(r"\$ $|\]: $")
        config = directory / "relay.yaml"
        assert config.read_text() == written.text

        # Other tests may have the usual ports.
        text = config.read_text().replace("8080", str(relay)).replace("8081", str(service))
        config.write_text(text.replace("admin: {", f'admin: {{bind: "127.0.0.1:{admin}", '))
        for line in _lines(check):
            one.type(line + "\n")
            await one.shows(r"goes to")
            await one.shows(r"confirm: \{with: status\} asks before delivery")
            await one.shows(r"\$ $")
        assert sink == "relay sink &"
        one.type(f"relay sink --bind 127.0.0.1:{service} &\n")
        await one.shows(r"listening on")
        one.type(run + "\n")
        await one.shows(r"\bstarted\b")

        move, post, listing = _lines(send)[1:]
        two.type(move + "\n")
        await two.shows(r"\$ $")
        two.type(post + "\n")
        await two.shows(r"│ 1 +│ 200 +│ OK")
        await one.shows(r"POST /webhooks  answered 200\n(.*\n)*  webhook-id: evt_")
        await one.shows(r"\d \battempt +midtrans billing delivered 200 ")
        two.type(listing + "\n")
        await two.shows(r"│ midtrans +│ delivered +│ order_id ORDER-1001")

        one.type("\x03")
        await one.shows(r"\bstopped\b")
        one.type("kill %1\n")
        await one.shows(r"\$ $")
        one.type("wait; echo all gone\n")
        await one.shows(r"^all gone")
        assert not _accepts(relay)
        assert not _accepts(service)
    assert "Ctrl-C in the first terminal, then `kill %1`" in pages.text("README.md")


def test_what_is_written_is_the_minimal_configuration_but_for_its_secrets() -> None:
    written = yaml.safe_load(pages.blocks("yaml", ("README.md",))[0].text)
    minimal = yaml.safe_load((pages.ROOT / "config/relay.minimal.yaml").read_text())
    assert written.pop("admin") == {"token": "${file:secrets/admin}"}
    for each in (written, minimal):
        each["endpoints"][0].pop("secrets")
    assert written == minimal
