"""The status for people and for pipes: tables on a terminal, one record a line elsewhere."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.admin.upstream_rows import called_with, works_for
from relay.core.visible_text import visible

if TYPE_CHECKING:
    # Importing it takes as long as all the rest.
    from rich.console import RenderableType
    from rich.table import Table

#: What `/api/v1/status` answers.
Status = Mapping[str, Any]

_BARS: Final = "▁▂▃▄▅▆▇█"

#: Verdicts that count as turned away.
_AWAY: Final = ("refused", "unavailable")
#: What was answered and is no event. All other verdicts count as taken.
_NO_EVENT: Final = "challenged"


#: The least width of a terminal that shows all columns.
_WIDE: Final = 118


# ---- one record a line ----------------------------------------------------------------------


def records(status: Status) -> Iterator[str]:
    """Return lines of tab-separated fields: the kind of record, its name, then NAME=VALUE."""
    for node in status["nodes"]:
        yield _record("node", node["name"], _without(node, "name"))
    for endpoint in status["endpoints"]:
        fields = _without(endpoint, "name", "hours", "verdicts_24h", "allowlist")
        yield _record(
            "endpoint",
            endpoint["name"],
            {**fields, **endpoint["verdicts_24h"], **endpoint["allowlist"]},
        )
    for upstream in status["upstreams"]:
        yield _record("upstream", upstream["name"], _flat(upstream))
    for matter in status["attention"]:
        yield _record("attention", matter["kind"], _without(matter, "kind"))
    yield _record("spool", "", status["spool"])


def _flat(row: Mapping[str, Any]) -> dict[str, object]:
    """Return the row of an upstream with what has parts as text."""
    fields = _without(row, "name", "auth", "headers", "tls", "final", "endpoints")
    return {**fields, "called_with": called_with(row), "for": works_for(row)}


def _record(kind: str, name: str, fields: Mapping[str, object]) -> str:
    pairs = [f"{key}={_plain(value)}" for key, value in fields.items()]
    return "\t".join(visible(cell) for cell in (kind, name, *pairs))


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


# ---- tables ---------------------------------------------------------------------------------


def tables(
    status: Status, now: datetime, note: str | None = None, *, width: int = _WIDE
) -> "RenderableType":
    """Return what a terminal of this width shows. note: a line before the rest."""
    from rich.console import Group  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415

    heads = [Text(visible(note), style="yellow")] if note else []
    heads += [Text(visible(line), style="bold") for line in _heads(status, now)]
    parts: list[RenderableType] = [*heads, *_attention(status, now)]
    parts += [
        _endpoints(status["endpoints"], now, wide=width >= _WIDE),
        _upstreams(status["upstreams"], now, wide=width >= _WIDE),
    ]
    return Group(*parts, Text(_spool(status["spool"])))


def _heads(status: Status, now: datetime) -> Iterator[str]:
    if not status["nodes"]:
        yield f"relay {status['version']}"
    for node in status["nodes"]:
        yield (
            f"relay {node['version']} on {node['name']}, role {node['role']},"
            f" up for {_length(node['since'], now)}, configuration {node['configuration']}"
        )


def _attention(status: Status, now: datetime) -> "list[RenderableType]":
    from rich.text import Text  # noqa: PLC0415 - see above

    if not status["attention"]:
        return [Text("Nothing needs you.", style="green")]
    rows = [
        (matter["kind"], matter["number"], _length(matter["since"], now), matter["detail"])
        for matter in status["attention"]
    ]
    return [_table("Needs somebody", ("kind", "number", "for", "what"), rows, "red")]


def _endpoints(rows: Sequence[Mapping[str, Any]], now: datetime, *, wide: bool) -> "Table":
    names = ["endpoint", "last delivery", "taken 24 h", "turned away", "may send"]
    if wide:
        names += ["confirmed", "provider", "by the hour"]
    shown = []
    for row in rows:
        verdicts: Mapping[str, int] = row["verdicts_24h"]
        away = sum(verdicts.get(name, 0) for name in _AWAY)
        cells = [
            row["name"],
            _ago(row["last_delivery_at"], now),
            sum(verdicts.values()) - away - verdicts.get(_NO_EVENT, 0),
            away,
            row["allowlist"]["addresses"],
            _seconds(row["allowlist"]["age_seconds"]),
            row["provider"],
            sparkline(row["hours"]),
        ]
        shown.append(cells[: len(names)])
    return _table("Endpoints", names, shown)


def _upstreams(rows: Sequence[Mapping[str, Any]], now: datetime, *, wide: bool) -> "Table":
    names = ["upstream", "backlog", "oldest for", "breaker", "", "delivers to"]
    if wide:
        names += ["called with", "for"]
    shown = []
    for row in rows:
        cells = [
            row["name"],
            row["backlog"],
            _length(row["oldest_at"], now),
            row["breaker"],
            "paused" if row["paused"] else "",
            row["url"] or "not configured",
            called_with(row),
            works_for(row),
        ]
        shown.append(cells[: len(names)])
    return _table("Upstreams", names, shown)


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], style: str = ""
) -> "Table":
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=title, title_justify="left", title_style=f"bold {style}".strip())
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # No markup: brackets stay what they are.
        table.add_row(*(Text(visible("" if cell is None else str(cell))) for cell in row))
    return table


def sparkline(hours: Sequence[int]) -> str:
    """Return a bar for each number; none where the terminal cannot show them."""
    if (sys.stdout.encoding or "").lower() not in {"utf-8", "utf8"}:
        return ""
    most = max(hours, default=0)
    if not most:
        return " " * len(hours)
    steps = len(_BARS) - 1
    return "".join(_BARS[-(-number * steps // most)] if number else " " for number in hours)


# ---- sizes and times ------------------------------------------------------------------------


def _spool(spool: Mapping[str, int | None]) -> str:
    size, free = spool["bytes"], spool["free_bytes"]
    if size is None or free is None:
        return "The spool cannot be read."
    return f"Spool: {_bytes(size)}; {_bytes(free)} left on its volume."


def _bytes(number: int) -> str:
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - the next unit
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _ago(at: str | None, now: datetime) -> str:
    return "never" if at is None else f"{_length(at, now)} ago"


def _length(at: str | None, now: datetime) -> str:
    """Return how long ago a time of the API was."""
    return "" if at is None else _seconds((now - datetime.fromisoformat(at)).total_seconds())


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = timedelta(seconds=max(0, round(seconds)))
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (_MINUTE, "min")):
        if whole >= 2 * unit:
            return f"{whole // unit} {name}"
    return f"{whole // timedelta(seconds=1)} s"


_MINUTE: Final = timedelta(minutes=1)
