"""Times as people write them: so long ago, a day by its name, or RFC 3339."""

import re
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final

_AGO: Final = re.compile(r"([0-9]{1,5}) ?(s|m|h|d|w)", re.ASCII)
_UNITS: Final = MappingProxyType(
    {
        "s": timedelta(seconds=1),
        "m": timedelta(minutes=1),
        "h": timedelta(hours=1),
        "d": timedelta(days=1),
        "w": timedelta(weeks=1),
    }
)

#: What to write.
FORMS: Final = "30m, 2h or 7d (ago), today, yesterday, 2026-01-31 or 2026-01-31T08:00:00Z"


def parse_moment(text: str, now: datetime) -> datetime:
    """Return the time that a person means: `2h` is two hours before `now`, `today` its midnight.

    A day by its name is one of the local time zone; a time without an offset is UTC.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - int(ago[1]) * _UNITS[ago[2]]
        if text in {"today", "yesterday"}:
            day = now.astimezone().date()
            return _midnight(day if text == "today" else day - timedelta(days=1))
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f'"{text}" is no time; write {FORMS}') from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _midnight(day: date) -> datetime:
    # Local: its offset is that of the day itself, which may be another one than now.
    return datetime(day.year, day.month, day.day).astimezone(UTC)
