"""Connections that fall due together: many senders stall in the same moment, and end in one."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench import messages
from tests.bench.node import write_node
from tests.bench.processes import free_port
from tests.bench.waits import PREFERRED, Action, Memory, Run
from tests.harness.wire import request

_CONNECTIONS: Final = 800
#: Seconds that a body may take: they end in the middle of a slice.
_BODY_TIMEOUT: Final = 2
#: Seconds in which the relay has read what was sent, and waits.
_READ_TIME: Final = 0.5
_HALF_SENT: Final = request("POST", messages.PATH, [("Content-Length", "1000")], b"{")


def stalled(run: Run, directory: Path, only: str) -> Iterator[Action | Memory]:
    """Look at a relay while that many bodies are late at once, and their connections end."""
    action = Action(f"{_CONNECTIONS} slow connections that fall due together")
    if only not in action.name:
        return
    _raise_descriptors()
    node = write_node("stalled", directory, mode="store", upstream=free_port(), snap_key=None)
    text = node.config.read_text()
    limits = f"{{body_timeout: {_BODY_TIMEOUT}s, connections_per_address: {2 * _CONNECTIONS}}}"
    # Addresses are not looked at: none of these has a proxy that names a client.
    text = text.replace('trusted_proxies: ["127.0.0.1/32"]', f"limits: {limits}")
    text = text.replace("    mode: store\n", "    mode: store\n    allowlist: {mode: 'off'}\n", 1)
    node.config.write_text(text)
    ended = list[int]()
    with node.program(PREFERRED) as program:
        program.settle()
        started = program.memory("VmRSS")
        for turn in range(1, run.rounds + 1):
            calm = run.calm(program)
            with ExitStack() as stack:
                senders = [
                    stack.enter_context(socket.create_connection(("127.0.0.1", node.port)))
                    for _ in range(_CONNECTIONS)
                ]
                for each in senders:
                    each.sendall(_HALF_SENT)
                # That so many came in one moment is not what is looked at: they have been read.
                time.sleep(_READ_TIME)
                seen = run.slice(program, lambda: _wait(run))
                ended.append(sum(_answer(each).startswith(b"HTTP/1.1 408") for each in senders))
            run.note(action, turn, calm, *seen)
        peak = program.memory()
    if min(ended) < _CONNECTIONS:
        raise RuntimeError(f"only {min(ended)} of {_CONNECTIONS} connections fell due")
    action.note = f"{median(ended):.0f} answered 408 in each slice"
    yield action
    yield Memory(f"{_CONNECTIONS} slow connections", started, peak)


def _wait(run: Run) -> None:
    time.sleep(max(run.seconds, _BODY_TIMEOUT + 1.5))


def _answer(sender: socket.socket) -> bytes:
    sender.settimeout(5)
    return sender.recv(1000)


def _raise_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * _CONNECTIONS
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
