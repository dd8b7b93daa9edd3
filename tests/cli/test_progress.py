"""Work of more than a second says how far it is, to a person who waits, and to nobody else."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from relay.cli.progress import PATIENCE, progress
from tests.cli.test_events import deliver
from tests.cli.test_refusals import genuine, keep
from tests.harness.clock import ManualClock


class Screen(io.StringIO):
    """What a terminal is sent."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def test_what_is_done_within_a_second_shows_nothing() -> None:
    screen, clock = Screen(), ManualClock()
    with progress("requeued", 10, stream=screen, clock=clock) as counter:
        for _ in range(10):
            counter.add()
    assert screen.getvalue() == ""


async def test_after_a_second_it_says_how_far_it_is_and_leaves_nothing() -> None:
    screen, clock = Screen(), ManualClock()
    with progress("requeued", 10, stream=screen, clock=clock) as counter:
        counter.add(3)
        await clock.advance(PATIENCE)
        assert screen.getvalue() == ""
        counter.add()
    shown = screen.getvalue()
    assert "requeued" in shown
    assert "4/10" in shown
    # The line is erased, and the cursor shown again.
    assert shown.endswith(("\x1b[2K", "\x1b[?25h"))


async def test_what_has_no_known_end_is_counted() -> None:
    screen, clock = Screen(), ManualClock()
    with progress("[b]exported", stream=screen, clock=clock) as counter:
        await clock.advance(PATIENCE)
        counter.add(7)
    assert "[b]exported" in screen.getvalue()
    assert "7/?" in screen.getvalue()


async def test_a_pipe_is_told_nothing() -> None:
    pipe, clock = io.StringIO(), ManualClock()
    with progress("requeued", stream=pipe, clock=clock) as counter:
        await clock.advance(2 * PATIENCE)
        counter.add()
    assert pipe.getvalue() == ""


async def test_nothing_is_shown_among_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, clock = Screen(), ManualClock()
    monkeypatch.setattr(sys, "stdout", Screen())
    with progress("exported", prints=True, stream=screen, clock=clock) as counter:
        await clock.advance(2 * PATIENCE)
        counter.add()
    assert screen.getvalue() == ""


# ---- the verbs ------------------------------------------------------------------------------

#: As if each of them took more than a second.
_LONG = "from relay.cli import main, progress; progress.PATIENCE = 0.0; main()"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("events", "export"), "exported"),
        (("events", "requeue", "--status", "delivered", "--yes"), "requeued"),
        (("refusals", "release", "ref_001", "ref_002"), "released"),
        (("backup", "copy.db"), "copy.db"),
        (("demo", "--once"), "sent"),
    ],
)
def test_long_work_says_how_far_it_is(words: Sequence[str], shown: str, config: Path) -> None:
    deliver(config, 5)
    keep(config, genuine(1), genuine(2))
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", _LONG, *words],
        cwd=config.parent,
        env={**os.environ, "MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "s"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
    )
    os.close(theirs)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert shown in said
    assert done.stdout
    assert b"\x1b" not in done.stdout
