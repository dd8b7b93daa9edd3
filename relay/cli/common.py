"""What verbs share: options, output, and opening the spool."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer
from rich.console import Console
from rich.table import Table

from relay.app.spools import existing_spool
from relay.config import Settings, SqliteSpool, load
from relay.config.yaml_document import suggestion
from relay.core.errors import SpoolUnavailable
from relay.spool import Spool

# ---- output ---------------------------------------------------------------------------------

#: The fewest letters of a column that are worth a line.
_LETTERS = 6


class Format(StrEnum):
    """How a list or a verdict is printed."""

    TEXT = "text"
    JSON = "json"


def print_json(content: object) -> None:
    """Print one JSON document."""
    _print(orjson.dumps(content, default=str, option=orjson.OPT_INDENT_2), indent=2)


def print_line(content: object) -> None:
    """Print one JSON document on a line of its own."""
    _print(orjson.dumps(content, default=str), indent=None)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows: a table for a person, tab-separated lines with a heading for a pipe."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (list(columns), *texts):
            sys.stdout.write("\t".join(_one_line(cell) for cell in row) + "\n")
        return
    console = Console(markup=False, highlight=False)
    if console.width < _narrowest(columns, texts):
        for row in texts:
            for column, cell in zip(columns, row, strict=True):
                sys.stdout.write(f"{column}: {_one_line(cell)}\n")
            sys.stdout.write("\n")
        return
    table = Table(header_style="bold")
    for column in columns:
        # Folded, never cut: an id that lost its end cannot be copied.
        table.add_column(column, overflow="fold")
    for row in texts:
        table.add_row(*(_one_line(cell) for cell in row))
    # No markup: a cell may hold brackets that a sender chose.
    console.print(table)


def print_details(shown: Mapping[str, object], names: Sequence[str], *, gone: str) -> None:
    """Print everything about one event or refusal, line by line.

    shown: as the admin API gives it; of its `content` these names, the header fields and the body.
    gone: why there is no content any more.
    """
    content = shown["content"]
    rows = [
        (name, value) for name, value in shown.items() if name != "content" and value is not None
    ]
    if isinstance(content, Mapping):
        rows += [(name, content[name]) for name in names]
        rows += [(f"header {name}", value) for name, value in content["headers"]]
        rows.append(("body", content["body"]))
    else:
        rows.append(("body", gone))
    print_table(("field", "value"), rows)


def complain(message: str) -> None:
    """Print to standard error."""
    sys.stderr.write(message + "\n")


def _print(document: bytes, *, indent: int | None) -> None:
    text = document.decode()
    if not text.isascii() and (sys.stdout.encoding or "").lower() not in {"utf-8", "utf8"}:
        # Letters that the terminal has not are escaped in JSON's own way.
        text = json.dumps(orjson.loads(document), indent=indent)
    sys.stdout.write(text + "\n")


def _narrowest(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the width below which a table could not be read: six letters a column, and lines."""
    longest = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    return 1 + sum(min(length, _LETTERS) + 3 for length in longest)


def _one_line(text: str) -> str:
    """Escape what would break a line or steer a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


# ---- options --------------------------------------------------------------------------------

CONFIG = Annotated[
    Path, typer.Option("-c", "--config", help="Configuration file.", envvar="RELAY_CONFIG")
]
FORMAT = Annotated[Format, typer.Option("--format", help="text or json")]
LIMIT = Annotated[int | None, typer.Option("--limit", help="At most this many.")]
AFTER = Annotated[str | None, typer.Option("--after", help="`next` of the page before.")]

Q = TypeVar("Q")


def load_settings(path: Path) -> Settings:
    """Return the settings of a file.

    Raises:
        ConfigError: with everything that is wrong with it.
    """
    return load(path, os.environ)


def query(
    parse: Callable[[dict[str, str]], Q], *, limit: int | None = None, **filters: str | None
) -> Q:
    """Return the query that the filters mean that were given.

    Raises:
        typer.BadParameter: one of them is unreadable; the message says what to write.
    """
    given = {name: text for name, text in filters.items() if text is not None}
    try:
        return parse(given if limit is None else {**given, "limit": str(limit)})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def no_endpoint(name: str, known: Iterable[str]) -> str:
    """Return what to say of an endpoint that is not there: the nearest, and those there are."""
    names = sorted(known)
    near, there = suggestion(name, names), f"there are: {', '.join(names)}"
    return f'no endpoint named "{name}"; ' + (near if near == there else f"{near} {there}")


def mention_unknown(endpoint: str | None, settings: Settings) -> None:
    """Say on standard error that the configuration has no endpoint of this name.

    What is kept may be of one that was there before, so it is no mistake.
    """
    names = [each.name for each in settings.endpoints]
    if endpoint is not None and endpoint not in names:
        complain(f"nothing found: {no_endpoint(endpoint, names)}")


# ---- the configured spool, which a relay may have open as well ------------------------------

T = TypeVar("T")


def with_spool(settings: Settings, work: Callable[[Spool], Awaitable[T]]) -> T:
    """Return what this work on the spool returns; the spool is closed behind it.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot do its work.
        typer.BadParameter: the work raised `ValueError`: what was asked for cannot be meant.
    """

    async def run() -> T:
        spool = await existing_spool(settings)
        try:
            return await work(spool)
        finally:
            await spool.close()

    _permitted(settings)
    try:
        return asyncio.run(run())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _permitted(settings: Settings) -> None:
    """Say who is needed, where SQLite would only say that it cannot open something.

    Raises:
        SpoolUnavailable: this user may not write there; reading alone takes a lock, too.
    """
    if not isinstance(settings.spool, SqliteSpool):
        return
    path = settings.spool.path
    for each, how in ((path.parent, os.R_OK | os.W_OK | os.X_OK), (path, os.R_OK | os.W_OK)):
        there = os.access(each, os.F_OK, effective_ids=True)
        if there and not os.access(each, how, effective_ids=True):
            raise SpoolUnavailable(
                f"this user may not read and write {each}; run it as the user of `relay run`"
            )
