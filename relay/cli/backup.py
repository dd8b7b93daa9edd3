"""`relay backup`: a copy of the spool, made while relay runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from relay.app.spools import back_up_spool
from relay.cli import process
from relay.cli.common import CONFIG, DEFAULT_CONFIG, check_permission, load_settings
from relay.cli.output import FORMAT, Format, complain, print_json, print_table
from relay.cli.progress import progress


def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the copy goes; an older one is replaced.")
    ],
    config: CONFIG = DEFAULT_CONFIG,
    form: FORMAT = Format.TEXT,
) -> None:
    """Copy the spool while relay runs. Everything acknowledged until now is in the copy.

    It has its name once it is whole, checked and on disk. It holds payment messages: only its owner
    may read it. Exit 0 when it is there, 1 when it cannot be made.

    Example: relay backup /var/backups/relay.db
    """
    settings = load_settings(config)
    check_permission(settings)
    try:
        with progress(str(file)) as counter:
            copied = back_up_spool(settings, file, counter.set)
    except KeyboardInterrupt:
        complain("relay backup: interrupted; there is no copy")
        sys.exit(process.INTERRUPTED)
    told = {"file": str(file), "bytes": copied.bytes, "schema": copied.schema}
    if form is Format.JSON:
        print_json(told)
    else:
        print_table(tuple(told), [tuple(told.values())])
