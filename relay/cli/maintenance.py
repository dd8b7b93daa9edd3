"""`relay migrate` and `relay version`."""

import platform
from importlib.metadata import version as installed
from pathlib import Path

from relay import __version__
from relay.assembly import migrate_spool
from relay.cli.options import CONFIG, FORMAT, load_settings
from relay.cli.output import Format, print_json, print_table


def migrate(config: CONFIG = Path("relay.yaml"), form: FORMAT = Format.TEXT) -> None:
    """Bring the spool to the schema of this version; `relay run` does it at start, too."""
    done = migrate_spool(load_settings(config))
    if form is Format.JSON:
        print_json({"from": done.before, "to": done.after})
    else:
        print_table(("from", "to"), [(done.before, done.after)])


def version(form: FORMAT = Format.TEXT) -> None:
    """Print the versions that matter in a bug report."""
    libraries = ("aiohttp", "apsw", "cryptography", "dnspython", "pydantic")
    versions = {
        "relay": __version__,
        "python": platform.python_version(),
        **{name: installed(name) for name in libraries},
    }
    if form is Format.JSON:
        print_json(versions)
    else:
        print_table(("part", "version"), list(versions.items()))
