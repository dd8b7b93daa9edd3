import asyncio
import subprocess
import sys
import threading

import pytest

from relay.core.concurrency import run_in_daemon_thread, short_switch_interval


async def test_what_is_done_apart_comes_back() -> None:
    def fail() -> None:
        raise FileNotFoundError("here")

    here = threading.current_thread()
    assert await run_in_daemon_thread(threading.current_thread) is not here
    with pytest.raises(FileNotFoundError, match="here"):
        await run_in_daemon_thread(fail)


async def test_what_comes_back_too_late_is_nothing_to_anybody() -> None:
    may_end, began = threading.Event(), threading.Event()

    def slowly() -> None:
        began.set()
        may_end.wait()

    task = asyncio.ensure_future(run_in_daemon_thread(slowly))
    await asyncio.to_thread(began.wait)
    task.cancel()
    await asyncio.wait({task})
    (thread,) = (each for each in threading.enumerate() if each.name == "relay-files")
    may_end.set()
    await asyncio.to_thread(thread.join)
    # What it told the loop has been heard by now.
    await asyncio.sleep(0)
    assert task.cancelled()


def test_the_process_ends_while_nobody_answers() -> None:
    program = """
import asyncio, threading
from relay.core.concurrency import run_in_daemon_thread
async def main():
    began = threading.Event()
    def hang():
        began.set()
        threading.Event().wait()
    task = asyncio.ensure_future(run_in_daemon_thread(hang))
    await asyncio.to_thread(began.wait)
    task.cancel()
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], timeout=20, check=False)
    assert ended.returncode == 0


# ---- turns ----------------------------------------------------------------------------------
# Turns are short for as long as they have to be.


def test_turns_are_as_long_as_ever_afterwards_whatever_happens() -> None:
    usual = sys.getswitchinterval()
    with short_switch_interval():
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == pytest.approx(usual)
    with short_switch_interval():
        with short_switch_interval():
            pass
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == pytest.approx(usual)
    with pytest.raises(ValueError, match="in between"), short_switch_interval():
        raise ValueError("in between")
    assert sys.getswitchinterval() == pytest.approx(usual)
