"""`relay run`: the server process. `relay migrate`: migrate its spool."""

import asyncio
import gc
import logging
import os
import resource
import sys
from pathlib import Path
from typing import Annotated

import typer

from relay.app.runtime import Addresses, App, Role
from relay.app.spools import migrate_spool
from relay.app.supervisor import Supervisor
from relay.app.watch import ConfigSource
from relay.cli import process
from relay.cli.common import (
    CONFIG,
    DEFAULT_CONFIG,
    load_settings,
)
from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_json,
    print_table,
)
from relay.cli.progress import progress
from relay.config import Settings, load
from relay.config.lint_machine import BIND_ERRORS, port_advice
from relay.config.secret_references import UNSET, UNSET_AT_START
from relay.config.types import Bind, bind
from relay.config.yaml_document import ConfigIssue
from relay.core.clock import Clock, SystemClock
from relay.explain.refusal import explain_refusal
from relay.telemetry.log import LibraryLogs, Log, LogFormat, LogWriter
from relay.telemetry.log_terminal import terminal_lines

# ---- relay run ------------------------------------------------------------------------------

#: Descriptors for files, the admin listener and DNS, and a reserve.
_OTHER_DESCRIPTORS = 64

#: Thresholds of the garbage collector. Python's own: (700, 10, 10).
_GARBAGE = (5000, 5, 20)


def run(
    config: CONFIG = DEFAULT_CONFIG,
    role: Annotated[
        Role, typer.Option("--role", help="all; edge only receives, dispatch only delivers.")
    ] = Role.ALL,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Reload when the configuration or a file it names changes."),
    ] = False,
    admin: Annotated[
        str | None,
        typer.Option(
            "--admin",
            metavar="ADDRESS:PORT",
            help="Where health, metrics and the page are, in place of admin.bind: for the second"
            " of two processes with one file.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format", help="json lines, or text for people. Default: text on a terminal."
        ),
    ] = None,
) -> None:
    """Serve. SIGTERM and SIGINT finish what is in hand within `shutdown_grace`, then exit 0.

    SIGHUP reads the configuration again: it is checked first, and taken as a whole or not at all.

    Example: relay run -c /etc/relay/relay.yaml --watch
    """
    source = ConfigSource(config, SettingsLoader(_bind(admin)))
    settings = source()
    clock = SystemClock()
    available = _raise_descriptor_limit()
    writer = LogWriter(sys.stderr.buffer)
    log = _log(writer, clock, log_format)
    logging.basicConfig(handlers=[LibraryLogs(log, clock)], level=logging.WARNING)

    needed = settings.limits.connections + _OTHER_DESCRIPTORS
    needed += sum(upstream.concurrency for upstream in settings.upstreams.values())
    if available < needed:
        log.warning(
            "few_descriptors",
            detail="limits.connections cannot be reached; raise `ulimit -n` or lower it",
            available=available,
            needed=needed,
        )

    def started(addresses: Addresses) -> None:
        log.info(
            "started",
            role=role.value,
            public=[f"{host}:{port}" for host, port in addresses.public],
            admin=f"{addresses.admin[0]}:{addresses.admin[1]}",
        )

    async def serve() -> None:
        stop = asyncio.Event()
        app = App(
            settings,
            role=role,
            log=log,
            clock=clock,
            load=source,
            watched=source.seen if watch else None,
            supervisor=Supervisor(os.environ, clock),
            explain_refusal=explain_refusal,
        )
        # Modules live as long as the process: looking for garbage among them takes 0.1 s each time.
        # Among a thousand connections it takes long, too, and less often is often enough.
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        with process.handle_signals(asyncio.get_running_loop(), stop=stop.set, reload=app.reload):
            await app.serve(stop, started)

    try:
        asyncio.run(serve())
        log.info("stopped")
    except OSError as error:
        complain(_told(error, settings))
        sys.exit(1)
    finally:
        writer.close()


def _told(error: OSError, settings: Settings) -> str:
    """Return why the process ends, by the key of each address that cannot be listened on."""
    found = [*port_advice(settings)] if error.errno in BIND_ERRORS else []
    issues = [ConfigIssue(advice.location, advice.message) for advice in found]
    return "\n".join(str(settings.source.problem(issue)) for issue in issues) or (
        f"relay run: {error}"
    )


class SettingsLoader:
    """Loads the settings of a process that runs, whose environment stays that of its start."""

    def __init__(self, admin: Bind | None = None) -> None:
        """admin: where its admin listener is, whatever the file says."""
        self._admin = admin
        self._unset = UNSET

    def __call__(self, path: Path) -> Settings:
        """Return the settings of a file.

        Raises:
            ConfigError: with every mistake; from the second time on it is said of a variable that
                it was not set at the start.
        """
        unset, self._unset = self._unset, UNSET_AT_START
        settings = load(path, os.environ, unset)
        if self._admin is None:
            return settings
        admin = settings.admin.model_copy(update={"bind": self._admin})
        return settings.model_copy(update={"admin": admin})


def _bind(written: str | None) -> Bind | None:
    try:
        return None if written is None else bind(written)
    except ValueError as error:
        raise typer.BadParameter(f"--admin: {error}") from None


def _log(writer: LogWriter, clock: Clock, asked: LogFormat | None) -> Log:
    """Return a log in the format that was asked for, or the one for where it goes."""
    if not sys.stderr.isatty():
        return Log(writer, clock, asked or LogFormat.JSON)
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return Log(writer, clock, asked or LogFormat.TEXT, terminal_lines(colour=not plain))


def _raise_descriptor_limit() -> int:
    """Raise the limit on file descriptors to the hard limit; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# ---- relay migrate --------------------------------------------------------------------------


def migrate(config: CONFIG = DEFAULT_CONFIG, form: FORMAT = Format.TEXT) -> None:
    """Bring the spool to the schema of this version; `relay run` does it at start, too.

    Example: relay migrate -c /etc/relay/relay.yaml
    """
    settings = load_settings(config)
    with progress("migrating") as counter:
        done = migrate_spool(settings, counter.add)
    if form is Format.JSON:
        print_json({"from": done.before, "to": done.after})
    else:
        print_table(("from", "to"), [(done.before, done.after)])
