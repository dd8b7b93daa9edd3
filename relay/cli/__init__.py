"""The command line. One module a verb, or a family of verbs; they print and set exit codes.

0 is yes or done, 1 is no or findings, 2 is a mistake in the call or in the configuration.
"""

import sys
from typing import TYPE_CHECKING

from relay.cli import process
from relay.core.errors import ConfigError, RelayError

if TYPE_CHECKING:
    import typer


def application() -> "typer.Typer":
    """Return the command with all its verbs."""
    # Imported here: it takes half a second, and by then signals must be held.
    import typer  # noqa: PLC0415

    from relay.cli import (  # noqa: PLC0415
        allowlist,
        check,
        demo,
        events,
        explain,
        providers,
        reconcile,
        refusals,
        run,
        send,
    )

    app = typer.Typer(
        name="relay",
        help="Receives payment webhooks at the edge: checks, verifies, stores, delivers.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.command()(demo.demo)
    app.command()(run.run)
    app.command()(check.check)
    app.command()(explain.explain)
    app.command()(send.send)
    app.add_typer(providers.app, name="providers")
    app.add_typer(allowlist.app, name="allowlist")
    app.add_typer(events.app, name="events")
    app.add_typer(refusals.app, name="refusals")
    app.command()(reconcile.reconcile)
    app.command()(run.migrate)
    app.command()(check.schema)
    app.command()(run.version)
    return app


def main() -> None:
    """Run the `relay` command and exit."""
    serves = sys.argv[1:2] == ["run"]
    if serves:
        process.hold()
    process.prepare()
    try:
        _run()
    except SystemExit as end:
        if serves:
            process.leave(end.code)
        raise


def _run() -> None:
    """Run the verb that is asked for, and exit; in plain words where it cannot be done."""
    try:
        try:
            application()()
        finally:
            process.flush()
    except ConfigError as error:
        _complain(str(error))
        sys.exit(2)
    except OSError as error:
        # A pipe that was closed, a disk that is full: what was asked for could not be printed.
        _complain(f"relay: {error.strerror or error}")
        sys.exit(1)
    except RelayError as error:
        _complain(f"relay: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        # Ctrl-C while the command is still being put together: nothing has been done.
        sys.exit(130)


def _complain(message: str) -> None:
    sys.stderr.write(message + "\n")
