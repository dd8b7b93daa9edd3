"""Writes down what relay publishes, or prints what another relay does."""

import argparse
import asyncio
import sys

from tests.repository.published import NAMES, record, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter of the environment of another relay")
    other = parser.parse_args().python
    names = text(asyncio.run(record(other or sys.executable)))
    if other is None:
        NAMES.write_text(names, encoding="utf-8")
    else:
        sys.stdout.write(names)


main()
