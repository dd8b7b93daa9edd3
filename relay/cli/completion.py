"""What a shell may complete: names that stand in the configuration, and names of providers.

Nothing is checked and nothing is said here: a file that cannot be read offers no names.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import typer

from relay.config import presets
from relay.config.file_text import as_written
from relay.core.errors import Reason
from relay.core.event import Status


def endpoints(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of endpoints in the configuration that begin like this."""
    found = _configuration(context).get("endpoints")
    names = [
        each.get("name")
        for each in (found if isinstance(found, tuple) else ())
        if isinstance(each, dict)
    ]
    return [name for name in names if isinstance(name, str) and name.startswith(incomplete)]


def upstreams(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of upstreams in the configuration that begin like this."""
    found = _configuration(context).get("upstreams")
    return (
        [name for name in found if name.startswith(incomplete)] if isinstance(found, dict) else []
    )


def providers(incomplete: str) -> list[str]:
    """Return the names of providers that begin like this."""
    return [name for name in presets.names() if name.startswith(incomplete)]


def statuses(incomplete: str) -> list[str]:
    """Return the statuses of events that begin like this."""
    return [status for status in Status if status.startswith(incomplete)]


def reasons(incomplete: str) -> list[str]:
    """Return the reasons of refusals that begin like this."""
    return [reason for reason in Reason if reason.startswith(incomplete)]


def _configuration(context: typer.Context) -> Mapping[str, object]:
    """Return the file as it is written; empty if it cannot be read."""
    path = context.params.get("config") or os.environ.get("RELAY_CONFIG") or "relay.yaml"
    data = as_written(Path(path))
    return data if isinstance(data, dict) else {}
