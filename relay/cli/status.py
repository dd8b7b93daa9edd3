"""`relay status`: what the running relay says; where none answers, what its spool says."""

import asyncio
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from relay.cli import process
from relay.cli.common import CONFIG, DEFAULT_CONFIG, load_admin_settings, load_settings, with_spool
from relay.cli.output import FORMAT, Format, complain, print_json, print_line
from relay.cli.running_relay import NotAsked, ask
from relay.cli.status_view import records, tables
from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.errors import RelayError, SpoolUnavailable
from relay.spool import Spool

#: Seconds between two looks.
_PAUSE: Final = 2.0

#: A status, and why it is not that of the running relay.
_Read = tuple[dict[str, Any], str | None]


def status(
    config: CONFIG = DEFAULT_CONFIG,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look every two seconds, until Ctrl-C.")
    ] = False,
    form: FORMAT = Format.TEXT,
) -> None:
    """Show endpoints, upstreams, and what needs a person.

    The running relay is asked. Where none answers, the spool is read: of breakers, certificates
    and reloads nothing is known then.

    Example: relay status --watch
    """
    if not watch:
        found, note = _read(config)
        if note is not None:
            complain(f"relay status: {note}")
        _show(found, form)
        return
    try:
        _watch(config, form)
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:
        # Its reader wants no more.
        process.flush()


# ---- reading --------------------------------------------------------------------------------


def _read(config: Path) -> _Read:
    """Return the status, and a sentence where it is not that of the running relay.

    Raises:
        ConfigError, SpoolUnavailable: no relay answers, and its spool cannot be read either.
    """
    try:
        answer = ask(load_admin_settings(config), "/api/v1/status", method="GET")
        if answer.status == HTTPStatus.OK:
            return answer.content, None
        why = f"the running relay says: {answer.content.get('error', answer.status)}"
    except NotAsked as error:
        why = str(error)
    settings = load_settings(config)
    try:
        found = with_spool(settings, lambda spool: _from_spool(settings, spool))
    except SpoolUnavailable as error:
        raise SpoolUnavailable(f"{why}; {error}") from None
    return found, f"{why}; read from the spool"


async def _from_spool(settings: Settings, spool: Spool) -> dict[str, Any]:
    # While a relay answers none of this is needed, and importing it takes longer than asking.
    from relay.admin.status import Process, read_status  # noqa: PLC0415
    from relay.app.builder import known_allowlists  # noqa: PLC0415

    try:
        process = Process(allowlists=known_allowlists(settings))
    except RelayError as error:
        complain(f"relay status: {error}")
        process = Process()
    now = SystemClock().now()
    return await read_status(spool, spool.activity, settings, process, now)


# ---- showing --------------------------------------------------------------------------------


def _show(found: dict[str, Any], form: Format) -> None:
    if form is Format.JSON:
        print_json(found)
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - scripts need none of it

        console = Console(markup=False, highlight=False)
        console.print(tables(found, SystemClock().now(), width=console.width))
    else:
        _print_records(found)


def _print_records(found: dict[str, Any]) -> None:
    for line in records(found):
        sys.stdout.write(f"{line}\n")


def _watch(config: Path, form: Format) -> None:
    """Look and show until interrupted; only the first look may fail."""
    found = _read(config)
    if sys.stdout.isatty() and form is Format.TEXT:
        from rich.console import Console  # noqa: PLC0415 - scripts need none of it
        from rich.live import Live  # noqa: PLC0415

        console = Console(markup=False, highlight=False)
        with Live(console=console, auto_refresh=False, screen=True) as live:
            _repeat(
                config,
                found,
                lambda told, note: live.update(
                    tables(told, SystemClock().now(), note, width=console.width), refresh=True
                ),
            )

    def write(told: dict[str, Any], note: str | None) -> None:
        if note is not None:
            complain(f"relay status: {note}")
        if form is Format.JSON:
            print_line(told)
        else:
            _print_records(told)
        sys.stdout.flush()

    _repeat(config, found, write)


def _repeat(config: Path, found: _Read, show: Callable[[dict[str, Any], str | None], None]) -> None:
    """Show this and what is read from then on; a note only when it is another one."""
    noted: str | None = None
    while True:
        told, note = found
        show(told, note if sys.stdout.isatty() or note != noted else None)
        noted = note
        asyncio.run(SystemClock().sleep(_PAUSE))
        try:
            found = _read(config)
        except RelayError as error:
            found = told, str(error)
