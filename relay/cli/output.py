"""Output of the verbs: tables on a terminal, tab-separated lines in a pipe, JSON, and errors.

Also `relay version`, which needs nothing else.
"""

import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from importlib.metadata import version as installed
from typing import Annotated

import orjson
import typer

from relay import __version__
from relay.core.visible_text import visible, visible_json

#: The columns whose cells are ids or addresses, which never wrap.
_WHOLE = frozenset(
    {"id", "event", "released_as", "requeued", "erased", "network", "address", "client"}
)

#: An id within other text, with what stands around it up to the next blanks.
_ID_WITHIN = re.compile(r"\S{0,20}(?:evt|ref)_[0-9a-f]{32}\S{0,20}")

#: The least width of a column whose cells are folded, in letters: shorter words, dates and
#: headings stay whole. A narrower table becomes lines.
_LETTERS = 12


class Format(StrEnum):
    """The output format of a verb."""

    TEXT = "text"
    JSON = "json"


FORMAT = Annotated[Format, typer.Option("--format", help="text or json")]


def print_json(content: object) -> None:
    """Print one JSON document."""
    _print(orjson.dumps(content, default=str, option=orjson.OPT_INDENT_2), indent=2)


def print_line(content: object) -> None:
    """Print one JSON document on a line of its own."""
    _print(orjson.dumps(content, default=str), indent=None)


def print_text(text: str) -> None:
    """Print text as it is; letters that the terminal has not are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows: a table for a person, tab-separated lines with a heading for a pipe."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (list(columns), *texts):
            sys.stdout.write("\t".join(visible(cell) for cell in row) + "\n")
        return
    # Most calls come from scripts, and importing it takes as long as all of this.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(markup=False, highlight=False)
    if console.width < 1 + sum(3 + width for width in _least_widths(columns, texts)):
        for row in texts:
            for column, cell in zip(columns, row, strict=True):
                sys.stdout.write(f"{column}: {visible(cell)}\n")
            sys.stdout.write("\n")
        return
    table = Table(header_style="bold")
    longest = [max(map(len, cells)) for cells in zip(columns, *texts, strict=True)]
    tight = console.width < 1 + sum(3 + length for length in longest)
    for column, width in zip(columns, _least_widths(columns, texts), strict=True):
        # An id stands in one line, and can be copied; the others are folded, never cut. Only a
        # width that is fixed holds where others are folded.
        table.add_column(
            column,
            overflow="fold",
            no_wrap=column in _WHOLE,
            min_width=width,
            width=width if tight and width > _LETTERS and column not in _WHOLE else None,
        )
    for row in texts:
        table.add_row(*(visible(cell) for cell in row))
    # No markup: a cell may hold brackets that a sender chose.
    console.print(table)


def print_rows(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Print these columns of rows as a table; a missing value is an empty cell."""
    print_table(columns, [[row.get(column) for column in columns] for row in rows])


def with_references(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row of a list with its references as text."""
    references = row["references"]
    pairs = references if isinstance(references, list) else []
    return {**row, "references": ", ".join(f"{name} {text}" for name, text in pairs)}


def with_upstreams(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row of the list of events with all of its upstreams as text."""
    found = row["destinations"]
    names = [each["upstream"] for each in found] if isinstance(found, list) else []
    return {**row, "upstream": ", ".join(names) or row["upstream"]}


def print_page(
    columns: Sequence[str], rows: Iterable[Mapping[str, object]], next_page: str | None
) -> None:
    """Print one page of a list; say on standard error how to get the next one, if there is one."""
    print_rows(columns, rows)
    if next_page is not None:
        complain(f"there are more: --after {next_page}")


def print_details(shown: Mapping[str, object], names: Sequence[str], *, gone: str) -> None:
    """Print everything about one event or refusal, one line a field.

    shown: as the admin API returns it. names: of the fields of its `content` that are printed,
    besides the header fields and the body. gone: why there is no content any more.
    """
    content = shown["content"]
    rows: list[tuple[str, object]] = []
    for name, value in shown.items():
        if name == "references" and isinstance(value, list):
            rows += [(f"reference {which}", text) for which, text in value]
        elif name in {"destinations", "attempt_log"} and isinstance(value, list):
            kind = "destination" if name == "destinations" else "attempt"
            rows += [(f"{kind} {at}", _told(each)) for at, each in enumerate(value, 1)]
        elif name != "content" and value is not None:
            rows.append((name, value))
    if isinstance(content, Mapping):
        rows += [(name, content[name]) for name in names]
        rows += [(f"header {name}", value) for name, value in content["headers"]]
        rows.append(("body", gone if content["body"] is None else content["body"]))
    else:
        rows.append(("body", gone))
    print_table(("field", "value"), rows)


def _told(row: Mapping[str, object]) -> str:
    """Return a row inside of details as one line: what is known of it."""
    return ", ".join(f"{name} {value}" for name, value in row.items() if value is not None)


def complain(message: str) -> None:
    """Print to standard error."""
    sys.stderr.write(visible(message, lines=True) + "\n")


def _print(document: bytes, *, indent: int | None) -> None:
    text = document.decode()
    if not text.isascii() and (sys.stdout.encoding or "").lower() not in {"utf-8", "utf8"}:
        # Letters that the terminal has not are escaped in JSON's own way.
        text = json.dumps(orjson.loads(document), indent=indent)
    sys.stdout.write(visible_json(text) + "\n")


def _least_widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the least width of each column in which a table can be read, without its borders."""
    return [
        max(map(len, cells)) if cells[0] in _WHOLE else max(map(_least_width, cells))
        for cells in zip(columns, *rows, strict=True)
    ]


def _least_width(cell: str) -> int:
    """Return in which width a cell may be folded: ids in it stay whole."""
    ids = [len(found) for found in _ID_WITHIN.findall(cell)]
    return max([min(len(cell), _LETTERS), *ids])


# ---- relay version --------------------------------------------------------------------------


def version(form: FORMAT = Format.TEXT) -> None:
    """Print the versions that matter in a bug report.

    Example: relay version --format json
    """
    libraries = ("aiohttp", "apsw", "cryptography", "dnspython", "pydantic")
    versions = {
        "relay": __version__,
        "python": platform.python_version(),
        **{name: installed(name) for name in libraries},
    }
    if form is Format.JSON:
        print_json(versions)
    else:
        print_table(("part", "version"), list(versions.items()))
