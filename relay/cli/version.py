"""`relay version`: the versions of relay, Python and its libraries."""

import platform
from importlib.metadata import version as installed

from relay import __version__
from relay.cli.output import FORMAT, Format, print_json, print_table


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
