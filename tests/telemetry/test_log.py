"""A line in the log is one line, holds what it was given, and never holds up its writer."""

import io
import logging
import os
import threading
from datetime import UTC, datetime, timedelta
from random import Random
from typing import BinaryIO

import orjson
import pytest

from relay.core.errors import RelayError
from relay.telemetry.log import (
    LibraryLogs,
    Line,
    Log,
    LogFormat,
    LogWriter,
    spelled_time,
)
from tests.harness.clock import ManualClock


def lines_of(
    *events: tuple[str, dict[str, object]], form: LogFormat = LogFormat.JSON
) -> list[bytes]:
    stream = io.BytesIO()
    writer = LogWriter(stream)
    log = Log(writer, ManualClock(), form)
    for event, fields in events:
        log.info(event, **fields)
    writer.close()
    return stream.getvalue().splitlines()


def test_a_json_line_holds_the_fields_in_order_and_leaves_out_what_is_none() -> None:
    (line,) = lines_of(("delivery", {"endpoint": "midtrans", "reason": None, "status": 200}))
    assert orjson.loads(line) == {
        "time": "2026-01-05T12:00:00.000Z",
        "level": "info",
        "event": "delivery",
        "endpoint": "midtrans",
        "status": 200,
    }


@pytest.mark.parametrize("form", list(LogFormat))
@pytest.mark.parametrize(
    "hostile",
    [
        "a\nb",
        "a\r\nlevel=error",
        "\x1b[2J",
        "\u202eevil",
        "\x9b31m",
        "\x7f",
        "\ud800",
        '"} {"',
        "\x00",
    ],
)
def test_hostile_text_stays_on_its_line_and_steers_no_terminal(
    form: LogFormat, hostile: str
) -> None:
    lines = lines_of(("delivery", {"event_key": hostile}), form=form)
    assert len(lines) == 1
    assert b"\x1b" not in lines[0]
    assert lines[0].decode().isprintable()
    if form is LogFormat.JSON and hostile != "\ud800":
        assert orjson.loads(lines[0])["event_key"] == hostile
        assert "\u202e" not in lines[0].decode()


def test_text_is_for_people() -> None:
    (line,) = lines_of(("started", {"port": 8443, "why": "two words"}), form=LogFormat.TEXT)
    assert line == b"2026-01-05T12:00:00.000Z INFO    started port=8443 why='two words'"


def test_a_fault_comes_with_its_traceback_in_one_json_line() -> None:
    stream = io.BytesIO()
    writer = LogWriter(stream)
    Log(writer, ManualClock()).fault("edge_fault", KeyError("inner"), peer="192.0.2.1")
    writer.close()
    (line,) = stream.getvalue().splitlines()
    fields = orjson.loads(line)
    assert fields["level"] == "error"
    assert fields["exception"] == "KeyError"


def raised(key: str) -> BaseException:
    """Return an error of ours that came from one that quotes what was received."""
    known: dict[str, str] = {}
    error = RelayError("nothing of that name")
    try:
        known[key]
    except KeyError as cause:
        error.__cause__ = cause
    return error


def test_a_fault_quotes_nothing_that_was_received() -> None:
    stream = io.BytesIO()
    writer = LogWriter(stream)
    log = Log(writer, ManualClock())
    log.fault("edge_fault", raised("canary"))
    log.fault("edge_fault", ValueError("invalid literal for int(): 'canary'"))
    log.fault("edge_fault", FileNotFoundError(2, "No such file"))
    log.fault("edge_fault", ExceptionGroup("canary", [OSError("full"), KeyError("canary")]))
    writer.close()
    traces = [orjson.loads(line)["exception"] for line in stream.getvalue().splitlines()]
    assert "canary" not in "".join(traces)
    frame, *_, cause, last = traces[0].splitlines()
    assert (cause, last) == ("KeyError", "relay.core.errors.RelayError: nothing of that name")
    assert "in raised" in frame
    assert traces[1:] == [
        "ValueError",
        "FileNotFoundError: [Errno 2] No such file",
        "ExceptionGroup\nOSError: full\nKeyError",
    ]


def test_of_what_asyncio_says_the_objects_are_left_out() -> None:
    stream = io.BytesIO()
    writer = LogWriter(stream)
    said = "Task exception was never retrieved\nfuture: <Task exception=KeyError('canary')>"
    record = logging.LogRecord("asyncio", logging.ERROR, "f.py", 1, said, (), None)
    clock = ManualClock()
    LibraryLogs(Log(writer, clock), clock).handle(record)
    writer.close()
    assert orjson.loads(stream.getvalue())["message"] == "Task exception was never retrieved"


def test_warnings_of_libraries_arrive() -> None:
    stream = io.BytesIO()
    writer = LogWriter(stream)
    record = logging.LogRecord("lib", logging.WARNING, "f.py", 1, "odd %s", ("thing",), None)
    clock = ManualClock()
    LibraryLogs(Log(writer, clock), clock).handle(record)
    writer.close()
    assert orjson.loads(stream.getvalue())["message"] == "odd thing"


async def test_what_libraries_say_again_and_again_is_one_line_a_second() -> None:
    stream, clock = io.BytesIO(), ManualClock()
    writer = LogWriter(stream)
    logs = LibraryLogs(Log(writer, clock), clock)
    for _ in range(3):
        for _ in range(1000):
            logs.handle(logging.LogRecord("lib", logging.WARNING, "f.py", 1, "odd", (), None))
        await clock.advance(1)
    for number in range(2 * LibraryLogs.REMEMBERED):
        logs.handle(logging.LogRecord("lib", logging.WARNING, "f.py", 1, f"{number}", (), None))
    writer.close()
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("more") for line in lines if line["message"] == "odd"] == [None, 999, 999]
    assert len(lines) == 3 + 2 * LibraryLogs.REMEMBERED


class StuckStream(io.RawIOBase):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.taken = io.BytesIO()

    def write(self, data: object) -> int:
        self.go.wait(10)
        return self.taken.write(bytes(data))  # type: ignore[call-overload]

    def flush(self) -> None:
        """Nothing is held back."""


def test_a_stuck_log_drops_lines_and_says_how_many_later() -> None:
    stream = StuckStream()
    writer = LogWriter(stream)  # type: ignore[arg-type]
    for _ in range(LogWriter.CAPACITY + 5000):
        writer.write((lambda _: "line\n",))
    stream.go.set()
    writer.close(timeout=10)
    lines = stream.taken.getvalue().splitlines()
    notes = [orjson.loads(line) for line in lines if line != b"line"]
    dropped = sum(note["count"] for note in notes)
    assert dropped >= 4000
    assert lines.count(b"line") + dropped == LogWriter.CAPACITY + 5000


def test_a_broken_stream_does_not_stop_the_writer() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream: BinaryIO
    with os.fdopen(writing, "wb", buffering=0) as stream:
        writer = LogWriter(stream)
        writer.write((lambda _: "into the void\n",))
        writer.close()


def test_a_line_that_its_caller_renders_is_rendered_in_the_thread_and_keeps_its_place() -> None:
    rendered: list[int] = []

    def render(line: Line) -> str:
        rendered.append(threading.get_ident())
        return f'{{"level":"error","event":"late","number":{line[1]}}}\n'

    stream = io.BytesIO()
    writer = LogWriter(stream)
    log = Log(writer, ManualClock())
    log.write((render, 7))
    log.info("next")
    writer.close()
    first, second = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert first == {"level": "error", "event": "late", "number": 7}
    assert second["event"] == "next"
    assert len(rendered) == 1
    assert rendered != [threading.get_ident()]


def test_a_line_that_comes_while_others_are_rendered_is_written_behind_them() -> None:
    stream = io.BytesIO()
    writer = LogWriter(stream)

    def render(line: Line) -> str:
        if line[1]:
            writer.write((render, line[1] - 1))
        return f"{line[1]}\n"

    for _ in range(LogWriter.BATCH // 2):
        writer.write((render, 1))
    writer.write((render, 100))
    writer.close(timeout=10)
    lines = stream.getvalue().split()
    assert (lines.count(b"1"), lines.count(b"0")) == (LogWriter.BATCH // 2 + 1,) * 2
    assert lines[-1] == b"0"
    assert len(lines) == LogWriter.BATCH + 101


def test_a_time_is_told_in_milliseconds_whatever_was_told_before() -> None:
    dice, second = Random(1), datetime(2026, 1, 5, 12, tzinfo=UTC)
    for _ in range(3000):
        micros = dice.choice((0, 999, 1000, 999_999, dice.randrange(10**6)))
        at = second + timedelta(seconds=dice.choice((-86_400, -1, 0, 0, 0, 1)), microseconds=micros)
        assert spelled_time(at) == at.isoformat(timespec="milliseconds")[:23] + "Z"
