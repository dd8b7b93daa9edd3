"""Events as CSV for people: one line each, and no cell that a spreadsheet runs.

For what has to be exact there are JSON Lines (`exported_event`).
"""

import csv
from io import StringIO
from typing import Final

from relay.admin.serializers import event_summary, rfc3339, shown_body
from relay.core.event import Event
from relay.core.redaction import NOTHING, Redaction
from relay.core.visible_text import formula_safe
from relay.spool.history import Record

COLUMNS: Final = (
    *("id", "received_at", "endpoint", "provider", "status", "key", "references", "upstream"),
    *("destinations", "attempts", "last_outcome", "settled_at", "client", "body"),
)


def csv_heading() -> str:
    """Return the line that names the columns."""
    return _line(COLUMNS)


def csv_event(record: Record, event: Event | None, redaction: Redaction = NOTHING) -> str:
    """Return the line of one event; its body is empty where that is gone, and masked as ever."""
    told = event_summary(record) | {
        "references": ", ".join(f"{name}={text}" for name, text in record.references),
        "destinations": ", ".join(f"{e.upstream} {e.status.value}" for e in record.destinations),
        "last_outcome": record.last_outcome,
        "settled_at": None if record.settled_at is None else rfc3339(record.settled_at),
        "client": record.client,
        "body": None if event is None else _body(event, redaction),
    }
    cells = ["" if told[name] is None else str(told[name]) for name in COLUMNS]
    return _line([formula_safe(cell) for cell in cells])


def _body(event: Event, redaction: Redaction) -> str:
    return shown_body(event, redaction).decode("utf-8", "backslashreplace")


def _line(cells: tuple[str, ...] | list[str]) -> str:
    # Each in quotes: one that begins without them may be split at another separator.
    written = StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(cells)
    return written.getvalue()
