"""Options that several verbs share."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from relay.cli.output import Format, complain
from relay.config import Settings, load
from relay.config.suggest import suggestion

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
