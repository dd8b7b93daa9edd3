"""Log lines, written in batches by a thread of their own.

The request path hands a line over and goes on. A log that is stuck (a full pipe, a frozen
terminal) never holds up an acknowledgement: lines are then dropped, and their number is logged
when writing works again.
"""

import logging
import queue
import threading
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, BinaryIO

import orjson
import structlog
from structlog.typing import EventDict

from relay.clock import Clock


class LogFormat(StrEnum):
    """JSON lines for machines, text for people."""

    JSON = "json"
    TEXT = "text"


class LogWriter:
    """Takes finished lines from any thread and writes them to one stream, in order."""

    #: Lines that may wait; about 40 MB of ordinary lines.
    CAPACITY = 100_000
    #: Lines that go out in one write.
    BATCH = 1000

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: queue.Queue[bytes | None] = queue.Queue(self.CAPACITY)
        self._dropped = 0
        # A daemon: a stream that never takes another byte must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="relay-log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Hand over one line without its newline. Never blocks and never raises."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self, timeout: float = 2.0) -> None:
        """Write what is waiting, for at most `timeout` seconds."""
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._take()
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                note = {"level": "warning", "event": "log_lines_dropped", "count": dropped}
                batch.append(orjson.dumps(note))
            try:
                self._stream.write(b"".join(line + b"\n" for line in batch))
                self._stream.flush()
            except (OSError, ValueError):
                # Nobody is left to tell; deliveries matter more than the lines about them.
                continue

    def _take(self) -> tuple[list[bytes], bool]:
        """Return the lines that wait, at least one, and whether more may come."""
        batch: list[bytes] = []
        line = self._lines.get()
        while line is not None:
            batch.append(line)
            if len(batch) == self.BATCH:
                return batch, True
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False


class _Sink:
    """What structlog calls with a rendered line."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def msg(self, line: bytes) -> None:
        self._writer.write(line)

    debug = info = warning = error = critical = msg


class Log:
    """Structured log lines: `log.info("event", field=value)`. None fields are left out."""

    def __init__(self, writer: LogWriter, clock: Clock, form: LogFormat = LogFormat.JSON) -> None:
        render = _as_json if form is LogFormat.JSON else _as_text

        def stamp(_: object, level: str, fields: EventDict) -> EventDict:
            time = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
            return {"time": time, "level": level, "event": fields.pop("event"), **fields}

        def finish(_: object, __: str, fields: EventDict) -> tuple[tuple[bytes], EventDict]:
            return (render(fields),), {}

        self._logger = structlog.wrap_logger(
            _Sink(writer),
            processors=[stamp, structlog.processors.format_exc_info, finish],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=True,
        )

    def info(self, event: str, **fields: object) -> None:
        self._logger.info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        self._logger.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        self._logger.error(event, **fields)

    def fault(self, event: str, error: BaseException, **fields: object) -> None:
        """Log an error that nobody foresaw, with its traceback."""
        self._logger.error(event, exc_info=error, **fields)


class LibraryLogs(logging.Handler):
    """Brings warnings of libraries, which use the standard logging module, into our log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.warning(
            "library", logger=record.name, message=record.getMessage(), exc_info=record.exc_info
        )


def _as_json(fields: Mapping[str, Any]) -> bytes:
    present = {key: value for key, value in fields.items() if value is not None}
    # A lone surrogate can come in with undecodable bytes: it must not cost us the line.
    try:
        return orjson.dumps(present, default=str)
    except TypeError:
        return orjson.dumps({key: ascii(value) for key, value in present.items()})


def _as_text(fields: Mapping[str, Any]) -> bytes:
    present = {key: value for key, value in fields.items() if value is not None}
    time, level, event = present.pop("time"), present.pop("level"), present.pop("event")
    trace = present.pop("exception", None)
    # ascii() keeps control characters and terminal escapes from reaching a terminal.
    pairs = " ".join(f"{key}={_shown(value)}" for key, value in present.items())
    line = f"{time} {level.upper():7} {event} {pairs}".rstrip()
    return (f"{line}\n{trace}" if trace else line).encode("utf-8", "backslashreplace")


def _shown(value: object) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and text and not {" ", '"'} & set(text)
    return text if plain else ascii(text)
