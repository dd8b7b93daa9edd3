"""Options of several verbs, and work on the configured spool."""

import asyncio
import os
import pwd
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from relay.admin.serializers import parse_event_query
from relay.admin.short_ids import AmbiguousId
from relay.app.spools import existing_spool
from relay.cli import completion
from relay.cli.output import complain
from relay.config import Admin, Settings, SqliteSpool, load, load_admin
from relay.config.yaml_document import suggestion
from relay.core.clock import SystemClock
from relay.core.errors import SpoolUnavailable
from relay.core.moments import FORMS
from relay.spool import Spool
from relay.spool.audit import Act, Actor
from relay.spool.history import Query

# ---- options --------------------------------------------------------------------------------

CONFIG = Annotated[
    Path, typer.Option("-c", "--config", help="Configuration file.", envvar="RELAY_CONFIG")
]
DEFAULT_CONFIG: Final = Path("relay.yaml")

# Filters and pages of lists.
ENDPOINT = Annotated[
    str | None,
    typer.Option("--endpoint", help="Only this endpoint.", autocompletion=completion.endpoints),
]
STATUS = Annotated[
    str | None,
    typer.Option(
        "--status", help="Only events of this status.", autocompletion=completion.statuses
    ),
]
FIND = Annotated[
    str | None,
    typer.Option(
        "--find",
        help="A reference (such as an order id) or an event id, whole or its beginning; or a key.",
    ),
]
UPSTREAM = Annotated[
    str | None,
    typer.Option("--upstream", help="Only this upstream.", autocompletion=completion.upstreams),
]
KEY = Annotated[str | None, typer.Option("--key", help="Only events with this event key.")]
SINCE = Annotated[
    str | None, typer.Option("--since", help=f"Received at this time or later: {FORMS}.")
]
UNTIL = Annotated[
    str | None, typer.Option("--until", help="Received before this time, written likewise.")
]
REASON = Annotated[
    str | None,
    typer.Option(
        "--reason", help="Only those refused for this reason.", autocompletion=completion.reasons
    ),
]
LIMIT = Annotated[int | None, typer.Option("--limit", help="At most this many.")]
AFTER = Annotated[str | None, typer.Option("--after", help="`next` of the page before.")]

Q = TypeVar("Q")


def load_settings(path: Path) -> Settings:
    """Return the settings of a file, with secrets from the environment.

    Raises:
        ConfigError: with every mistake in it.
    """
    return load(path, os.environ)


def load_admin_settings(path: Path) -> Admin:
    """Return the `admin` section of a file, which may have mistakes elsewhere.

    Raises:
        ConfigError: with every mistake in the file, if that section has one.
    """
    return load_admin(path, os.environ)


def query(
    parse: Callable[[dict[str, str]], Q], *, limit: int | None = None, **filters: str | None
) -> Q:
    """Parse the filters that are not None into a query.

    Raises:
        typer.BadParameter: a filter is invalid; the message says what to write.
    """
    given = {name: text for name, text in filters.items() if text is not None}
    try:
        return parse(given if limit is None else {**given, "limit": str(limit)})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def query_events(*, limit: int | None = None, **filters: str | None) -> Query:
    """Parse the filters of events that are not None into a query, as of now.

    Raises:
        typer.BadParameter: as `query`.
    """
    return query(partial(parse_event_query, now=SystemClock().now()), limit=limit, **filters)


def unknown_endpoint(name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown endpoint: the nearest name, and all names."""
    names = sorted(known)
    near, there = suggestion(name, names), f"there are: {', '.join(names)}"
    # Without a near name, the suggestion lists names, and not all of many.
    return f'no endpoint named "{name}"; ' + (f"{near} {there}" if "did you" in near else there)


def warn_unknown_names(
    endpoint: str | None,
    settings: Settings,
    upstream: str | None = None,
    said: str = "nothing found",
) -> None:
    """Print a warning when the configuration has no endpoint, or upstream, of this name.

    It is no error: the spool may hold events of one that was configured before.
    """
    names = [each.name for each in settings.endpoints]
    if endpoint is not None and endpoint not in names:
        complain(f"{said}: {unknown_endpoint(endpoint, names)}")
    if upstream is not None and upstream not in settings.upstreams:
        there = ", ".join(sorted(settings.upstreams))
        complain(f'{said}: no upstream named "{upstream}"; there are: {there}')


# ---- the configured spool, which a relay may have open as well ------------------------------

T = TypeVar("T")


def with_spool(settings: Settings, work: Callable[[Spool], Awaitable[T]]) -> T:
    """Open the spool, run `work` on it, close it and return the result.

    Raises:
        SpoolUnavailable: there is no spool, or it cannot be used.
        typer.BadParameter: the work raised `ValueError`, for a query that cannot be answered.
    """

    async def run() -> T:
        spool = await existing_spool(settings)
        try:
            return await work(spool)
        finally:
            await spool.close()

    check_permission(settings)
    try:
        return asyncio.run(run())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def with_event_ids(settings: Settings, work: Callable[[Spool], Awaitable[T]]) -> T:
    """Do as `with_spool`; exit 1 where a beginning of an id is that of several events."""

    async def tell(spool: Spool) -> T | AmbiguousId:
        try:
            return await work(spool)
        except AmbiguousId as error:
            return error

    done = with_spool(settings, tell)
    if isinstance(done, AmbiguousId):
        complain(str(done))
        sys.exit(1)
    return done


def check_permission(settings: Settings) -> None:
    """Check that this user may open the spool, where SQLite's own error names no cause.

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


async def record_act(spool: Spool, act: str, **touched: object) -> None:
    """Keep an act of this user in the spool, as the admin listener keeps those of others.

    Raises:
        SpoolUnavailable: it is done, and not on record.
    """
    await spool.audit.add(Act(SystemClock().now(), Actor.CLI, _user(), act, touched))


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # As in a container that runs under a number alone.
        return f"uid {os.getuid()}"
