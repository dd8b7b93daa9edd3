"""Printing: tables on a terminal, plain text when piped, JSON when asked."""

import sys
from collections.abc import Sequence
from enum import StrEnum

import orjson
from rich.console import Console
from rich.table import Table


class Format(StrEnum):
    """How a list or a verdict is printed."""

    TEXT = "text"
    JSON = "json"


def print_json(content: object) -> None:
    """Print one JSON document."""
    text = orjson.dumps(content, default=str, option=orjson.OPT_INDENT_2)
    sys.stdout.write(text.decode() + "\n")


def print_line(content: object) -> None:
    """Print one JSON document on a line of its own."""
    sys.stdout.write(orjson.dumps(content, default=str).decode() + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows: a table for a person, tab-separated lines with a heading for a pipe."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (list(columns), *texts):
            sys.stdout.write("\t".join(_one_line(cell) for cell in row) + "\n")
        return
    table = Table(header_style="bold")
    for column in columns:
        # Folded, never cut: an id that lost its end cannot be copied.
        table.add_column(column, overflow="fold")
    for row in texts:
        table.add_row(*(_one_line(cell) for cell in row))
    # No markup: a cell may hold brackets that a sender chose.
    Console(markup=False, highlight=False).print(table)


def complain(message: str) -> None:
    """Print to standard error."""
    sys.stderr.write(message + "\n")


def _one_line(text: str) -> str:
    """Escape what would break a line or steer a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
