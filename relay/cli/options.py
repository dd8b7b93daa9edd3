"""Options that several verbs share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from relay.cli.output import Format
from relay.config import Settings, load

CONFIG = Annotated[
    Path, typer.Option("-c", "--config", help="Configuration file.", envvar="RELAY_CONFIG")
]
FORMAT = Annotated[Format, typer.Option("--format", help="text or json")]


def load_settings(path: Path) -> Settings:
    """Return the settings of a file.

    Raises:
        ConfigError: with everything that is wrong with it.
    """
    return load(path, os.environ)
