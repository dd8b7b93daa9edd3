"""What verbs share: options, and opening the spool."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from relay.app.spools import existing_spool
from relay.cli.output import complain
from relay.config import Settings, SqliteSpool, load
from relay.config.yaml_document import suggestion
from relay.core.errors import SpoolUnavailable
from relay.spool import Spool

# ---- options --------------------------------------------------------------------------------

CONFIG = Annotated[
    Path, typer.Option("-c", "--config", help="Configuration file.", envvar="RELAY_CONFIG")
]
DEFAULT_CONFIG: Final = Path("relay.yaml")

# Filters and pages of lists.
ENDPOINT = Annotated[str | None, typer.Option("--endpoint", help="Only this endpoint.")]
STATUS = Annotated[str | None, typer.Option("--status", help="Only events of this status.")]
KEY = Annotated[str | None, typer.Option("--key", help="Only events with this event key.")]
SINCE = Annotated[str | None, typer.Option("--since", help="Received at this time or later.")]
UNTIL = Annotated[str | None, typer.Option("--until", help="Received before this time.")]
REASON = Annotated[str | None, typer.Option("--reason", help="Only those refused for this reason.")]
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
