"""Runs one target under atheris: `python -m tests.fuzz.engine NAME` and options of libFuzzer.

libFuzzer ends its process by itself, so this is always a process of its own.
"""

import sys

import atheris

from tests.fuzz.targets import target


def main(name: str, options: list[str]) -> None:
    """Fuzz until libFuzzer has had enough. Does not return."""
    with atheris.instrument_imports(include=["relay"]):
        found = target(name)
    atheris.Setup([sys.argv[0], *options], found.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
