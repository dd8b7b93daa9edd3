"""Work of a command on the configured spool, which a relay may have open as well."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

from relay.assembly import existing_spool
from relay.config import Settings
from relay.config.settings import SqliteSpool
from relay.errors import SpoolUnavailable
from relay.spool import Spool

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
