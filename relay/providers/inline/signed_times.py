"""Signed times: how they are written, and how far they may lie off."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Final

from relay.core.errors import Reason, Refusal
from relay.providers import (
    Window,
)
from relay.providers.inline import (
    Unit,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Without zeros in front: those could be the end of a body that stands before the time.
_WHOLE = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
_RFC1123 = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", re.ASCII)
_ISO8601 = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


@lru_cache(maxsize=256)
def read_time(text: str, unit: Unit) -> datetime:
    """Parse a signed time. The last ones are remembered: a sender's clock gives few at a time.

    Raises:
        Refusal: TIMESTAMP_INVALID when it is not written in this unit, or no such time exists.
    """
    try:
        return _read(text, unit)
    except (ValueError, OverflowError):
        raise Refusal(Reason.TIMESTAMP_INVALID, f"the signed time is not {unit}") from None


def write_time(at: datetime, unit: Unit) -> str:
    """Return the text that `read_time` parses."""
    if unit == "rfc1123":
        return format_datetime(at.astimezone(UTC), usegmt=True)
    if unit == "iso8601":
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(
        (at - _EPOCH) // (timedelta(seconds=1) if unit == "s" else timedelta(milliseconds=1))
    )


def check_window(signed_at: datetime, now: datetime, window: Window) -> None:
    """Check that a signed time lies within the window.

    Raises:
        Refusal: TIMESTAMP_OUTSIDE_WINDOW.
    """
    age = now - signed_at
    if window.past is not None and age > window.past:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"the signed time is {age} old")
    if window.future is not None and -age > window.future:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"the signed time is {-age} ahead")


def _read(text: str, unit: Unit) -> datetime:
    if unit == "rfc1123":
        found = parsedate_to_datetime(text) if _RFC1123.fullmatch(text) else None
        # Writing it again finds a wrong day of the week.
        if found is None or format_datetime(found, usegmt=True) != text:
            raise ValueError
        return found
    if unit == "iso8601":
        # A time without an offset could be anywhere within a day.
        match = _ISO8601.fullmatch(text)
        if match is None:
            raise ValueError
        fraction = (match[2] or "")[:6].ljust(6, "0")
        return datetime.fromisoformat(f"{match[1]}.{fraction}{match[3].replace('Z', '+00:00')}")
    if not _WHOLE.fullmatch(text):
        raise ValueError
    return _EPOCH + timedelta(**{"seconds" if unit == "s" else "milliseconds": int(text)})
