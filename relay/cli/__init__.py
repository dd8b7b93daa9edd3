"""The command line: `VERBS` names the module of each verb, which is imported when it is called.

These modules print and set exit codes.

Exit 0 is yes or done, 1 is no or findings, 2 is a mistake in the call or in the configuration.
"""

import gc
import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

from relay import __version__
from relay.cli import process
from relay.core.errors import ConfigError, RelayError
from relay.core.visible_text import visible

if TYPE_CHECKING:
    import typer

#: The verbs, as `relay --help` lists them: each with its module and the name of it in there. A
#: `typer.Typer` is a family of verbs, a function is one.
VERBS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "demo": "demo:demo",
        "init": "init:init",
        "run": "run:run",
        "reload": "reload:reload",
        "check": "check:check",
        "explain": "explain:explain",
        "send": "send:send",
        "sink": "sink:sink",
        "reconcile": "reconcile:reconcile",
        "backup": "backup:backup",
        "migrate": "run:migrate",
        "schema": "check:schema",
        "version": "output:version",
        "providers": "providers:app",
        "allowlist": "allowlist:app",
        "events": "events:app",
        "refusals": "refusals:app",
        "upstreams": "upstreams:app",
        "status": "status:status",
        "audit": "audit:audit",
    }
)


#: Set where a shell asks for completion.
_COMPLETION: Final = "_RELAY_COMPLETE"


def application(verbs: Iterable[str] = VERBS) -> "typer.Typer":
    """Return the command with these verbs; only their modules are imported."""
    # Imported here: it takes a while, and by then signals must be held.
    import typer  # noqa: PLC0415

    def print_version(asked: bool) -> None:
        if asked:
            sys.stdout.write(f"relay {__version__}\n")
            raise typer.Exit

    app = typer.Typer(
        name="relay",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback(help="Receives payment webhooks at the edge: checks, verifies, stores, delivers.")
    def relay(
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=print_version, is_eager=True, help="Print the version."
            ),
        ] = False,
    ) -> None:
        del version  # Its callback has done it.

    for verb in verbs:
        module, _, name = VERBS[verb].partition(":")
        found = getattr(import_module(f"relay.cli.{module}"), name)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=verb)
        else:
            app.command(verb)(found)
    return app


def _needed(words: list[str]) -> Iterable[str]:
    """Return the verbs whose modules this command line needs.

    A verb in first place needs itself alone. Help, completion of the verb and misspelled verbs need
    all of them. So a call imports only what it uses, which takes most of its time.
    """
    if _COMPLETION in os.environ:
        # The words of the line so far, which bash hands over otherwise than zsh and fish do.
        line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
        typed = line.split()[1:]
        # A word that more may be typed to is no verb yet.
        words = typed if len(typed) > 1 or line[-1:].isspace() else []
    if words[:1] == ["--version"]:
        return ()
    return words[:1] if words and words[0] in VERBS else VERBS


def _assembled(words: list[str]) -> "typer.Typer":
    """Return the command for these words, ready to be run.

    What is imported stays. Python would look for garbage among it again and again meanwhile,
    which takes a tenth of the time of a short command, and find none.
    """
    gc.disable()
    try:
        return application(_needed(words))
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    """Run the `relay` command and exit."""
    serves = sys.argv[1:2] == ["run"]
    if serves:
        process.hold_signals()
    process.prepare()
    try:
        _run()
    except SystemExit as end:
        if serves:
            process.exit_now(end.code)
        raise


def _run() -> None:
    """Run the verb and exit; an expected error is printed as one line."""
    try:
        try:
            _assembled(sys.argv[1:])()
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
        sys.exit(process.INTERRUPTED)


def _complain(message: str) -> None:
    sys.stderr.write(visible(message, lines=True) + "\n")
