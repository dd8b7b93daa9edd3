"""Log lines for a person at a terminal: local time, what matters first, the rest as name=value.

A line says less than its JSON: sizes, hashes and the way an address was known are left out where
everything went well.
"""

from collections.abc import Callable
from typing import Any, Final

from relay.telemetry.log import Line, fields_of, shown

#: What stands first, as bare words.
_FIRST: Final = {
    "delivery": ("endpoint", "verdict", "reason", "status"),
    "attempt": ("endpoint", "upstream", "outcome", "status", "cause"),
}
#: What is not told of a delivery or an attempt.
_LEFT_OUT: Final = frozenset({"body_bytes", "body_sha256", "provider", "secret"})
#: What is told only of those that were refused.
_OF_REFUSALS: Final = frozenset({"client_via", "matched_entry", "matched_host", "peer"})

_EVENT_WIDTH: Final = 8

_DIM, _BOLD, _YELLOW, _RED, _PLAIN = (f"\x1b[{code}m" for code in ("2", "1", "33", "31", "0"))
_COLOURS: Final = {"warning": _YELLOW, "error": _RED}


def terminal_lines(*, colour: bool) -> Callable[[Line], str]:
    """Return a function that renders log lines for a terminal. It is called in the log's thread."""
    return _coloured if colour else _plain


def _plain(line: Line) -> str:
    time, level, event, text, trace = _parts(line)
    return f"{time} {level:8}{event:{_EVENT_WIDTH}} {text}".rstrip() + f"\n{trace}"


def _coloured(line: Line) -> str:
    time, level, event, text, trace = _parts(line)
    fields = line[4]
    went_well = fields.get("reason") is None and fields.get("outcome") in {None, "delivered"}
    colour = _COLOURS.get(line[2], _BOLD if went_well else _YELLOW)
    named = f"{level} {event}" if level else f"{event:{_EVENT_WIDTH}}"
    return f"{_DIM}{time}{_PLAIN} {colour}{named}{_PLAIN} {text}".rstrip() + f"\n{trace}"


def _parts(line: Line) -> tuple[str, str, str, str, str]:
    """Return time, level, event, text and traceback of a line; the level is empty for `info`."""
    fields = fields_of(line)
    level, event = fields.pop("level"), fields.pop("event")
    trace = fields.pop("exception", None)
    del fields["time"]
    at = line[1].astimezone()
    return (
        f"{at:%H:%M:%S}.{at.microsecond // 1000:03}",
        "" if level == "info" else level.upper(),
        event,
        " ".join(_words(event, fields)),
        "" if trace is None else f"{trace}\n",
    )


def _words(event: str, fields: dict[str, Any]) -> list[str]:
    first = _FIRST.get(event)
    if first is None:
        return [f"{name}={shown(value)}" for name, value in fields.items()]
    left_out = _LEFT_OUT if "reason" in fields else _LEFT_OUT | _OF_REFUSALS
    words = [shown(fields.pop(name)) for name in first if name in fields]
    took = fields.pop("duration_ms", None)
    if fields.get("decision") == "done":
        del fields["decision"]
    words += [f"{name}={shown(value)}" for name, value in fields.items() if name not in left_out]
    return words if took is None else [*words, f"{took:.1f}ms"]
