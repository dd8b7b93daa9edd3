"""Signals that come too early, or too late, end nothing that they should not."""

import signal
import subprocess
import sys

import pytest

from relay.cli import process

# Each says where it is, and goes on when it is told to.
_EARLY = """
import sys
from relay.cli import process as signals
signals.hold()
print("held", flush=True)
sys.stdin.readline()
print("went on", flush=True)
"""
_TOLD = """
import asyncio, signal, os
from relay.cli import process as signals
signals.hold()
os.kill(os.getpid(), signal.SIGHUP)
async def main():
    reload, stop = asyncio.Event(), asyncio.Event()
    with signals.told(asyncio.get_running_loop(), stop=stop.set, reload=reload.set):
        await reload.wait()
        print("reload", flush=True)
        await stop.wait()
        print("stop", flush=True)
    os.kill(os.getpid(), signal.SIGHUP)
asyncio.run(main())
os.kill(os.getpid(), signal.SIGHUP)
print("ended", flush=True)
"""
# A configuration that is being checked in a thread, with pydantic's compiled parts on its stack.
_ENDING = """
import threading, time
from pydantic import BaseModel, field_validator
from relay.cli import process as signals
class Slow(BaseModel):
    number: int
    @field_validator("number", mode="before")
    @classmethod
    def read(cls, number: int) -> int:
        reading.set()
        time.sleep(0)
        return number
def check():
    while True:
        Slow.model_validate({"number": 1})
reading = threading.Event()
for _ in range(3):
    threading.Thread(target=check, daemon=True).start()
reading.wait()
signals.leave(STATUS)
"""


def started(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_sighup_waits() -> None:
    with started(_EARLY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        process.send_signal(signal.SIGHUP)
        out, error = process.communicate(b"\n", timeout=20)
    assert (out, error, process.returncode) == (b"went on\n", b"", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_to_stop_stops_at_once(number: signal.Signals) -> None:
    with started(_EARLY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        process.send_signal(number)
        out, error = process.communicate(timeout=20)
    assert (out, error, process.returncode) == (b"", b"", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_loop_is_told_what_has_waited_and_what_comes(number: signal.Signals) -> None:
    with started(_TOLD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reload\n"
        process.send_signal(number)
        out, error = process.communicate(timeout=20)
    assert (out, error, process.returncode) == (b"stop\nended\n", b"", 0)


def test_the_signals_are_held_before_anything_heavy_is_imported() -> None:
    """Half a second of imports is half a second in which SIGHUP would end the process."""
    program = "import sys; import relay.cli; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert process.__name__.encode() in found.stdout.split()
    assert {b"asyncio", b"pydantic", b"typer"}.isdisjoint(found.stdout.split())


@pytest.mark.parametrize(("status", "code"), [(None, 0), (0, 0), (1, 1), (2, 2), ("why", 1)])
def test_the_process_ends_so_whatever_a_thread_is_in(status: object, code: int) -> None:
    program = _ENDING.replace("STATUS", repr(status))
    ended = subprocess.run([sys.executable, "-c", program], timeout=20, check=False)
    assert ended.returncode == code
