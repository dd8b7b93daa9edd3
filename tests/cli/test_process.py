"""However a verb is started, it ends with what it has to say, and without a traceback."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from relay.cli import process

NO_SPACE = os.strerror(errno.ENOSPC)

ENVIRON = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "s", "PATH": "/usr/bin:/bin"}
#: Python goes by this alone, and takes nothing for UTF-8 that was not said to be.
ASCII = {**ENVIRON, "PYTHONIOENCODING": "ascii"}

REQUEST = b'POST /midtrans/notification?a HTTP/1.1\r\nHost: h\r\n\r\n{"order_id": "caf\xc3\xa9"}'


def shell(command: str, environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which `relay` is this relay."""
    line = command.replace("relay", f"{sys.executable} -m relay", 1)
    return subprocess.run(
        ["/bin/sh", "-c", line], env=environ, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_letter_that_a_terminal_has_not_is_escaped(form: str, config: Path) -> None:
    file = config.parent / "request"
    file.write_bytes(REQUEST)
    done = shell(f"relay explain {file} -c {config} --format {form}", ASCII)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"?\\u2026" in done.stdout
    if form == "json":
        assert any("?…" in each["detail"] for each in orjson.loads(done.stdout)["steps"])


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("relay version >&-", 0, b""),
        ("relay version >&- 2>&-", 0, b""),
        ("relay explain - -c {} <&-", 2, b"-:1:1: the file is empty"),
        ("relay allowlist diff --against - -c {} <&-", 1, b""),
        ("relay version | true", 0, b""),
        ("relay version > /dev/full", 1, f"relay: {NO_SPACE}\n".encode()),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_traceback(
    command: str, code: int, said: bytes, config: Path
) -> None:
    done = shell(command.format(config), ENVIRON)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert b"Traceback" not in done.stderr


# ---- signals --------------------------------------------------------------------------------
# Signals that come too early, or too late, end nothing that they should not.

# Each says where it is, and goes on when it is told to.
_EARLY = """
import sys
from relay.cli import process as signals
signals.hold_signals()
print("held", flush=True)
sys.stdin.readline()
print("went on", flush=True)
"""
_TOLD = """
import asyncio, signal, os
from relay.cli import process as signals
signals.hold_signals()
os.kill(os.getpid(), signal.SIGHUP)
async def main():
    reload, stop = asyncio.Event(), asyncio.Event()
    with signals.handle_signals(asyncio.get_running_loop(), stop=stop.set, reload=reload.set):
        await reload.wait()
        print("reload", flush=True)
        await stop.wait()
        print("stop", flush=True)
    os.kill(os.getpid(), signal.SIGHUP)
asyncio.run(main())
os.kill(os.getpid(), signal.SIGHUP)
print("ended", flush=True)
"""
# Two that arrive together: what the first one does ends the handling of both.
_TOGETHER = """
import os, signal
from relay.cli import process as signals
class Loop:
    def call_soon_threadsafe(self, call): call()
both = {signal.SIGHUP, signal.SIGTERM}
def end(): handling.__exit__(None, None, None)
handling = signals.handle_signals(Loop(), stop=print, reload=end)
handling.__enter__()
signal.pthread_sigmask(signal.SIG_BLOCK, both)
for each in both:
    os.kill(os.getpid(), each)
signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
print("ended", flush=True)
signals.exit_now(0)
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
signals.exit_now(STATUS)
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


def test_a_signal_that_arrived_as_the_handling_of_it_ended_is_no_noise() -> None:
    with started(_TOGETHER) as process:
        out, error = process.communicate(timeout=20)
    assert (out, error, process.returncode) == (b"ended\n", b"", 0)


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
