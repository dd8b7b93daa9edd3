"""What is fuzzed, by name.

A target is a module with `SEEDS`, inputs to begin with; `WORDS`, pieces to make others of; and
`check(data)`, which raises AssertionError for any input under which a promise does not hold.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast


class Target(Protocol):
    """One module of this package."""

    SEEDS: Sequence[bytes]
    WORDS: Sequence[bytes]

    def check(self, data: bytes) -> None:
        """Raise for an input under which a promise does not hold."""


#: By the name on the command line. A target is imported when it is wanted: what it imports has to
#: be instrumented first.
MODULES = {
    "proxyheader": "proxyheader",
    "forwarding": "forwarding",
    "json": "jsonbodies",
    "minify": "minified",
    "jsontext": "jsontext",
    "form": "forms",
    "signature": "signatures",
    "template": "templates",
    "yaml": "configuration",
}


def target(name: str) -> Target:
    """Return the target of this name."""
    return cast("Target", import_module(f"tests.fuzz.targets.{MODULES[name]}"))
