import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from relay.core.concurrency import (
    READ_SIZE,
    SwitchInterval,
    called_back,
    run_in_daemon_thread,
)


async def test_what_is_done_apart_comes_back() -> None:
    def fail() -> None:
        raise FileNotFoundError("here")

    here = threading.current_thread()
    assert await run_in_daemon_thread(threading.current_thread) is not here
    with pytest.raises(FileNotFoundError, match="here"):
        await run_in_daemon_thread(fail)


async def test_what_comes_back_too_late_is_nothing_to_anybody() -> None:
    may_end, began = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def slowly() -> None:
        threads.append(threading.current_thread())
        began.set()
        may_end.wait()

    task = asyncio.ensure_future(run_in_daemon_thread(slowly))
    await asyncio.to_thread(began.wait)
    task.cancel()
    await asyncio.wait({task})
    (thread,) = threads
    may_end.set()
    await asyncio.to_thread(thread.join)
    # What it told the loop has been heard by now.
    await asyncio.sleep(0)
    assert task.cancelled()


@pytest.mark.parametrize("ended", [True, False])
async def test_what_has_called_back_is_not_cancelled_any_more(ended: bool) -> None:
    calls: list[Callable[[str], None]] = []
    cancelled: list[str] = []

    def start(call_back: Callable[[str], None]) -> Callable[[], None]:
        calls.append(call_back)
        return lambda: cancelled.append("cancelled")

    task = asyncio.ensure_future(called_back(start))
    await asyncio.sleep(0)
    if ended:
        calls[0]("done")
    # In the same iteration of the loop: the task has not seen the result yet.
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == ([] if ended else ["cancelled"])


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


# ---- the switch interval --------------------------------------------------------------------
# Turns are short for as long as they have to be.


def test_the_switch_interval_is_restored_whatever_happens() -> None:
    usual, interval = sys.getswitchinterval(), SwitchInterval()
    with interval.shortened():
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == pytest.approx(usual)
    with interval.shortened():
        with interval.shortened():
            pass
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == pytest.approx(usual)
    with pytest.raises(ValueError, match="in between"), interval.shortened():
        raise ValueError("in between")
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_the_last_of_several_threads_restores_the_switch_interval() -> None:
    usual, interval = sys.getswitchinterval(), SwitchInterval()
    inside, may_end = threading.Barrier(3), [threading.Event(), threading.Event()]

    def compute(end: threading.Event) -> None:
        with interval.shortened():
            inside.wait()
            end.wait()

    threads = [threading.Thread(target=compute, args=(end,)) for end in may_end]
    for thread in threads:
        thread.start()
    inside.wait()
    for thread, end in zip(threads, may_end, strict=True):
        assert sys.getswitchinterval() == pytest.approx(0.001)
        end.set()
        thread.join()
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_the_interval_of_the_process_is_restored_not_pythons() -> None:
    usual, interval = sys.getswitchinterval(), SwitchInterval()
    sys.setswitchinterval(0.02)
    try:
        with interval.shortened():
            assert sys.getswitchinterval() == pytest.approx(0.001)
        assert sys.getswitchinterval() == pytest.approx(0.02)
    finally:
        sys.setswitchinterval(usual)


# ---- reads of a transport -------------------------------------------------------------------


class Received(asyncio.Protocol):
    """Reads in short pieces."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.max_size = READ_SIZE  # type: ignore[attr-defined] # not documented

    def data_received(self, data: bytes) -> None:
        self.sizes.append(len(data))


async def test_a_transport_reads_as_much_at_a_time_as_it_is_told() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        transport, protocol = await loop.create_connection(Received, sock=ours)
        await loop.sock_sendall(theirs, bytes(100_000))
        async with asyncio.timeout(10):
            while sum(protocol.sizes) < 100_000:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
        transport.close()
    assert max(protocol.sizes) == READ_SIZE
