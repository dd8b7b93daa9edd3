"""Log lines, rendered and written in batches by a thread of their own.

The request path queues what a line says; rendering and writing happen in the thread, many lines at
a time. A log that blocks (a full pipe, a frozen terminal) never delays an acknowledgement: lines
are then dropped, and their number is logged when writing works again.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, BinaryIO, Final

import orjson

from relay.core.clock import Clock, spelled_second
from relay.core.errors import RelayError
from relay.core.visible_text import visible, visible_json

#: Seconds in which a batch of lines gathers.
_BATCH_WINDOW: Final = 0.05


class LogFormat(StrEnum):
    """JSON lines for machines, text for people."""

    JSON = "json"
    TEXT = "text"


#: A line that is still to be rendered: the function that does it, which takes all of it and returns
#: the line with its newline, and then what it tells. That is immutable, and small: the line waits.
Line = tuple[Any, ...]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: What follows a second, by milliseconds.
_MILLISECONDS: Final = tuple(f".{number:03}Z" for number in range(1000))


class LogWriter:
    """Writes lines from any thread to one stream, in order."""

    #: Lines that may be queued; about 10 MB of ordinary ones.
    CAPACITY = 20_000
    #: Lines that go out in one write.
    BATCH = 1000

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        # Appended to, and cut off at the front: each is one step to other threads.
        self._lines: list[Line] = []
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
        lines = self._lines
        while lines or self._dropped:
            taken = lines[: self.BATCH]
            # No more than these: others come meanwhile.
            del lines[: len(taken)]
            batch = [line[0](line) for line in taken]
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                note = {"level": "warning", "event": "log_lines_dropped", "count": dropped}
                batch.append(as_json(note))
            try:
                text = "".join(batch)
                if not text.isascii() or "\x7f" in text:
                    text = visible_json(text)
                self._stream.write(text.encode("utf-8", "backslashreplace"))
                self._stream.flush()
            except (OSError, ValueError):
                # There is nowhere to report it; deliveries matter more than the lines about them.
                continue


class Log:
    """Structured log lines: `log.info("event", field=value)`. None fields are left out.

    Values are immutable: a line is made after the call has returned.
    """

    def __init__(
        self,
        writer: LogWriter,
        clock: Clock,
        form: LogFormat = LogFormat.JSON,
        render: Callable[[Line], str] | None = None,
    ) -> None:
        """render: renders the lines of a text format, in place of the usual function."""
        self.now = clock.now
        self._render = _json_line if form is LogFormat.JSON else render or _text_line
        #: Queues a line that its caller renders, which is in JSON then: see `is_json`.
        self.write = writer.write
        self.is_json = form is LogFormat.JSON

    def info(self, event: str, **fields: object) -> None:
        self.line("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self.line("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self.line("error", event, fields)

    def fault(self, event: str, error: BaseException, **fields: object) -> None:
        """Log an unexpected exception, with its traceback.

        Of exceptions whose text may quote what was received, such as `ValueError`, only the class
        is logged.
        """
        self.line("error", event, fields | {"exception": _trace(error)})

    def line(
        self, level: str, event: str, fields: Mapping[str, object], at: datetime | None = None
    ) -> None:
        """Log a line of this level. at: the present time, where the caller has read it."""
        self.write((self._render, at or self.now(), level, event, fields))


class _SpelledTimes:
    """Spells times as log lines tell them, and remembers the second of the last one."""

    def __init__(self) -> None:
        # Its start, its end, its text: replaced in one step.
        self._second = (_EPOCH, _EPOCH, "")

    def spell(self, at: datetime) -> str:
        """Return a time in UTC, in milliseconds."""
        start, end, text = self._second
        if not start <= at < end:
            start = at.replace(microsecond=0)
            text = spelled_second(int(at.timestamp() // 1))
            self._second = (start, start + timedelta(seconds=1), text)
        return text + _MILLISECONDS[at.microsecond // 1000]


#: Returns a time in UTC as lines tell it, in milliseconds.
spelled_time: Final = _SpelledTimes().spell


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
        said = visible(str(latest), lines=True) if isinstance(latest, _SAFE_TEXT) else ""
        text = f": {said}" if said else ""
        within = latest.exceptions if isinstance(latest, BaseExceptionGroup) else ()
        frames = "".join(traceback.format_tb(latest.__traceback__))
        parts.insert(0, "\n".join([frames + name + text, *map(_trace, within)]))
        latest = latest.__cause__ or latest.__context__
    return "\n".join(parts)


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


# ---- rendering ------------------------------------------------------------------------------


def fields_of(line: Line) -> dict[str, Any]:
    """Return what a line of `Log` tells, without what is None: time, level and event first."""
    _, at, level, event, fields = line
    found = {"time": spelled_time(at), "level": level, "event": event}
    found |= {key: value for key, value in fields.items() if value is not None}
    return found


def _json_line(line: Line) -> str:
    return as_json(fields_of(line))


def as_json(fields: Mapping[str, Any]) -> str:
    # A lone surrogate can come in with undecodable bytes: it must not lose the line.
    try:
        line = orjson.dumps(fields, str, orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        escaped = {key: ascii(value) for key, value in fields.items()}
        line = orjson.dumps(escaped, None, orjson.OPT_APPEND_NEWLINE)
    return line.decode()


def _text_line(line: Line) -> str:
    rest = fields_of(line)
    time, level, event = rest.pop("time"), rest.pop("level"), rest.pop("event")
    trace = rest.pop("exception", None)
    # ascii() keeps control characters and terminal escapes from reaching a terminal.
    pairs = " ".join(f"{key}={shown(value)}" for key, value in rest.items())
    text = f"{time} {level.upper():7} {event} {pairs}".rstrip()
    return f"{text}\n{trace}\n" if trace else f"{text}\n"


def shown(value: object) -> str:
    """Return a value as one word, or in quotes; nothing in it steers a terminal."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and text and not {" ", '"'} & set(text)
    return text if plain else ascii(text)
