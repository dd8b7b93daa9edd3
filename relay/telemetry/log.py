"""Log lines, rendered and written in batches by a thread of their own.

The request path queues the fields of a line; rendering and writing happen in the thread, many lines
at a time. A log that blocks (a full pipe, a frozen terminal) never delays an acknowledgement: lines
are then dropped, and their number is logged when writing works again.
"""

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, BinaryIO, Final, TypeVar

import orjson

from relay.core.clock import Clock, spelled_second
from relay.core.errors import RelayError

#: Seconds in which a batch of lines gathers.
_BATCH_WINDOW: Final = 0.05


class LogFormat(StrEnum):
    """JSON lines for machines, text for people."""

    JSON = "json"
    TEXT = "text"


T = TypeVar("T")

#: Renders one line, without its newline. Called in another thread: it reads nothing mutable.
Line = Callable[[], bytes]


class LogWriter:
    """Writes lines from any thread to one stream, in order."""

    #: Lines that may be queued; about 30 MB of ordinary ones.
    CAPACITY = 20_000
    #: Lines that go out in one write.
    BATCH = 1000

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: deque[Line] = deque()
        self._dropped = 0
        self._closing = threading.Event()
        self._awake = threading.Event()
        # The event's state, to look at without a call.
        self._asleep = True
        # A daemon: a stream that never takes another byte must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="relay-log", daemon=True)
        self._thread.start()

    def write(self, line: Line) -> None:
        """Queue one line, or drop it if the queue is full. Never blocks and never raises."""
        if len(self._lines) >= self.CAPACITY:
            self._dropped += 1
            return
        self._lines.append(line)
        # Waking a thread costs more than the line does: once for a batch.
        if self._asleep:
            self._asleep = False
            self._awake.set()

    def close(self, timeout: float = 2.0) -> None:
        """Write the queued lines, for at most `timeout` seconds."""
        self._closing.set()
        self._awake.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._awake.wait()
            self._closing.wait(_BATCH_WINDOW)
            # Before the lines are taken: one that comes now wakes it again.
            self._awake.clear()
            self._asleep = True
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while self._lines or self._dropped:
            batch = [self._lines.popleft()() for _ in range(min(len(self._lines), self.BATCH))]
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                note = {"level": "warning", "event": "log_lines_dropped", "count": dropped}
                batch.append(orjson.dumps(note))
            try:
                self._stream.write(b"".join(line + b"\n" for line in batch))
                self._stream.flush()
            except (OSError, ValueError):
                # There is nowhere to report it; deliveries matter more than the lines about them.
                continue


class Log:
    """Structured log lines: `log.info("event", field=value)`. None fields are left out.

    Values are immutable: a line is made after the call has returned.
    """

    def __init__(self, writer: LogWriter, clock: Clock, form: LogFormat = LogFormat.JSON) -> None:
        self._writer = writer
        self._clock = clock
        self._render = _as_json if form is LogFormat.JSON else _as_text

    def info(self, event: str, **fields: object) -> None:
        self._line("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._line("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._line("error", event, fields)

    def fault(self, event: str, error: BaseException, **fields: object) -> None:
        """Log an unexpected exception, with its traceback.

        Of exceptions whose text may quote what was received, such as `ValueError`, only the class
        is logged.
        """
        self._line("error", event, fields | {"exception": _trace(error)})

    def defer(
        self, level: str, event: str, fields: Callable[[T], Mapping[str, object]], record: T
    ) -> None:
        """Log a line whose fields are computed of this record when the line is rendered.

        The record does not change any more. The request path is spared what takes time to spell.
        """
        self._writer.write(
            partial(
                _deferred,
                partial(_line, self._render, self._clock.now(), level, event),
                fields,
                record,
            )
        )

    def _line(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        self._writer.write(partial(_line, self._render, self._clock.now(), level, event, fields))


#: Exceptions whose text is about the program and the machine, never what a sender wrote.
_SAFE_TEXT: Final = (RelayError, OSError, NameError, AttributeError, TypeError, ImportError)


def _trace(error: BaseException) -> str:
    """Return the traceback of an exception, after those of its causes."""
    parts: list[str] = []
    seen: set[int] = set()
    latest: BaseException | None = error
    while latest is not None and id(latest) not in seen:
        seen.add(id(latest))
        name = f"{type(latest).__module__}.{type(latest).__qualname__}".removeprefix("builtins.")
        text = f": {latest}" if isinstance(latest, _SAFE_TEXT) else ""
        within = latest.exceptions if isinstance(latest, BaseExceptionGroup) else ()
        frames = "".join(traceback.format_tb(latest.__traceback__))
        parts.insert(0, "\n".join([frames + name + text, *map(_trace, within)]))
        latest = latest.__cause__ or latest.__context__
    return "\n".join(parts)


def _deferred(
    line: Callable[[Mapping[str, object]], bytes],
    fields: Callable[[T], Mapping[str, object]],
    record: T,
) -> bytes:
    return line(fields(record))


def _line(
    render: Callable[[Mapping[str, Any]], bytes],
    at: datetime,
    level: str,
    event: str,
    fields: Mapping[str, object],
) -> bytes:
    second = spelled_second(int(at.timestamp() // 1))
    time = f"{second}.{at.microsecond // 1000:03d}Z"
    line: dict[str, object] = {"time": time, "level": level, "event": event}
    line |= {key: value for key, value in fields.items() if value is not None}
    return render(line)


class LibraryLogs(logging.Handler):
    """Forwards warnings of libraries, which use the standard logging module, to our log.

    A repeated message becomes at most one line a second, with the number of repetitions.
    """

    #: How many messages are remembered; beyond that, the oldest is forgotten.
    REMEMBERED = 100

    def __init__(self, log: Log, clock: Clock) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._clock = clock
        # When each was last written, and how often it was repeated since.
        self._recent: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        key = (record.name, record.getMessage())
        now = self._clock.monotonic()
        last, times = self._recent.get(key, (None, 0))
        if last is not None and now - last < 1:
            self._recent[key] = (last, times + 1)
            return
        self._recent[key] = (now, 0)
        if len(self._recent) > self.REMEMBERED:
            del self._recent[next(iter(self._recent))]
        # After the first line, asyncio shows objects in use, and so what they hold.
        message = key[1].partition("\n")[0]
        fields = {"logger": record.name, "message": message, "more": times or None}
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            self._log.warning("library", **fields)
        else:
            self._log.fault("library", error, **fields)


def _as_json(fields: Mapping[str, Any]) -> bytes:
    # A lone surrogate can come in with undecodable bytes: it must not lose the line.
    try:
        return orjson.dumps(fields, default=str)
    except TypeError:
        return orjson.dumps({key: ascii(value) for key, value in fields.items()})


def _as_text(fields: Mapping[str, Any]) -> bytes:
    rest = dict(fields)
    time, level, event = rest.pop("time"), rest.pop("level"), rest.pop("event")
    trace = rest.pop("exception", None)
    # ascii() keeps control characters and terminal escapes from reaching a terminal.
    pairs = " ".join(f"{key}={_shown(value)}" for key, value in rest.items())
    line = f"{time} {level.upper():7} {event} {pairs}".rstrip()
    return (f"{line}\n{trace}" if trace else line).encode("utf-8", "backslashreplace")


def _shown(value: object) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and text and not {" ", '"'} & set(text)
    return text if plain else ascii(text)
