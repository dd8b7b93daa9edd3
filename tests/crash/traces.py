"""A relay under strace, and what its trace proves: each event was synced before its answer."""

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.messages import NAME, Answered, Message, send_all
from tests.harness import traced_node
from tests.harness.deliveries import ENVIRON, configuration
from tests.harness.traced_node import RELAY, Call, WrappedNode
from tests.harness.upstream import Upstream

# ---- what a trace proves --------------------------------------------------------------------

_NAMED: Final = re.compile(rb'"transaction_id": ?"(' + NAME.pattern.encode() + rb')"')
_SUCCESS: Final = re.compile(rb"^HTTP/1\.1 2\d\d ")
_SENDS: Final = frozenset({"sendto", "sendmsg", "write", "writev"})
_READS: Final = frozenset({"recvfrom", "recvmsg", "read"})
_SYNCS: Final = frozenset({"fsync", "fdatasync"})

#: SQLite's write-ahead log: a header, then frames of a header and a page. The frame header's second
#: number is not zero in the last frame of a transaction.
_LOG_HEADER, _FRAME_HEADER = 32, 24


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of success that left, and the transaction that it answers."""

    name: str
    left: int


def answers(calls: Sequence[Call]) -> Iterator[Answer]:
    """Return the successes in the order in which they left."""
    heard: dict[str, bytes] = {}
    for call in calls:
        if call.name in _READS and call.result > 0:
            heard[call.file] = heard.get(call.file, b"") + call.data
        elif call.name in _SENDS and _SUCCESS.match(call.data):
            found = _NAMED.search(heard.pop(call.file, b""))
            if found is not None:
                yield Answer(found[1].decode(), call.began)
        elif call.name == "close":
            heard.pop(call.file, None)


def unsynced(calls: Sequence[Call], log: str) -> list[str]:
    """Return each answer that left before its event was on disk, as a sentence.

    log: the path of the write-ahead log. The event is there when the last frame of a transaction
    that holds it has been written, and a sync that began after that has come back.
    """
    written = _written(calls, log)
    syncs = [
        call for call in calls if call.name in _SYNCS and call.file == log and call.result == 0
    ]
    wrong = []
    for answer in answers(calls):
        place = written.get(answer.name)
        if place is None:
            wrong.append(f"{answer.name}: answered in line {answer.left}, never written")
        elif not any(
            place < sync.began and sync.ended is not None and sync.ended < answer.left
            for sync in syncs
        ):
            wrong.append(
                f"{answer.name}: answered in line {answer.left}, written by line {place},"
                " not synced in between"
            )
    return wrong


def _written(calls: Sequence[Call], log: str) -> dict[str, int]:
    """Return for each transaction id where the first commit that holds it had been written."""
    done: dict[str, int] = {}
    open_names: set[str] = set()
    last = False
    for call in calls:
        if call.name != "pwrite64" or call.file != log or call.ended is None:
            continue
        if len(call.data) == _FRAME_HEADER and call.numbers[-1] >= _LOG_HEADER:
            last = call.data[4:8] != bytes(4)
            continue
        open_names |= {each.decode() for each in re.findall(NAME.pattern.encode(), call.data)}
        if last:
            for name in open_names:
                done.setdefault(name, call.ended)
            open_names, last = set(), False
    return done


def directory_synced(calls: Sequence[Call], path: str, before: int) -> bool:
    """Return whether this file's name was on disk before a place in the log."""
    directory = path.rpartition("/")[0]
    made = [
        call.ended
        for call in calls
        if call.name == "openat" and "O_CREAT" in call.flags and call.data.decode() == path
        if call.worked and call.ended is not None
    ]
    return bool(made) and any(
        call.name in _SYNCS
        and call.file == directory
        and call.result == 0
        and made[0] < call.began
        and call.ended is not None
        and call.ended < before
        for call in calls
    )


# ---- a traced relay ------------------------------------------------------------------------

CONTROL = (str(Path(__file__).with_name("normal_sync_control.py")),)


@dataclass(frozen=True, slots=True)
class TracedRun:
    """One run of a relay: what it is sent, and how it ends."""

    messages: Sequence[Message]
    end: signal.Signals = signal.SIGTERM
    at_once: int = 4


@dataclass(slots=True)
class Trace:
    """The runs of a relay in one directory, and every call it made, one run after the other."""

    directory: Path
    sent: list[Message] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def log(self) -> str:
        return str(self.directory / "relay.db-wal")


async def trace(
    directory: Path,
    *runs: TracedRun,
    program: Sequence[str] = RELAY,
    configured: Callable[[str], str] = configuration,
    destinations: int = 1,
) -> Trace:
    """Run relay under strace, send it messages, let it deliver them, and end it.

    configured: returns a configuration with an upstream at this URL. destinations: how many each
    message has there.
    """
    traced_node.strace_needed()
    traced = Trace(directory)
    log = directory / "trace"
    for run in runs:
        async with Upstream() as upstream:
            config = directory / "relay.yaml"
            config.write_text(configured(upstream.url))
            node = WrappedNode(config, ENVIRON, prefix=traced_node.tracing(log), program=program)
            async with node:
                traced.answered += await send_all(node.public[0], run.messages, run.at_once)
                await upstream.has_received(len(run.messages) * destinations)
                await node.end(run.end)
        traced.sent += run.messages
        start = 1 + max((call.ended or call.began for call in traced.calls), default=-1)
        traced.calls += await traced_node.calls(log, start)
        log.unlink()
    return traced
