"""The command line. One module a verb, or a family of verbs; they print and set exit codes.

0 is yes or done, 1 is no or findings, 2 is a mistake in the call or in the configuration.
"""

import sys

import typer

from relay.cli import (
    allowlist,
    check,
    demo,
    events,
    explain,
    maintenance,
    providers,
    reconcile,
    refusals,
    run,
    send,
)
from relay.cli.output import complain
from relay.errors import ConfigError, RelayError


def application() -> typer.Typer:
    """Return the command with all its verbs."""
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
    app.command()(maintenance.migrate)
    app.command()(check.schema)
    app.command()(maintenance.version)
    return app


def main() -> None:
    """Run the `relay` command and exit."""
    try:
        application()()
    except ConfigError as error:
        complain(str(error))
        sys.exit(2)
    except OSError as error:
        # A pipe that was closed, a disk that is full: what was asked for could not be printed.
        complain(f"relay: {error.strerror or error}")
        sys.exit(1)
    except RelayError as error:
        complain(f"relay: {error}")
        sys.exit(1)
