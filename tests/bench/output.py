"""What a run writes: tables to standard output, which way it has come to standard error."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TextIO


def progress(text: str) -> None:
    """Say where the run is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def show(text: str = "") -> None:
    """Print a line of the result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table: the first column is text, the others stand to the right."""
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    show()
    for row in (head, rule, *rows):
        first, *others = row
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        show(f"| {' | '.join(cells)} |")
    show()


@contextmanager
def kept(section: str, into: Path | None) -> Iterator[None]:
    """Let what is shown inside also replace this section of a file, if one is given.

    Raises:
        ValueError: the file has no such section; nothing was shown.
    """
    if into is None:
        yield
        return
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->\n"
    before, found, rest = into.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{into} has no section {begin.strip()} … {end.strip()}")
    copy = _Copy(sys.stdout)
    with redirect_stdout(copy):
        yield
    into.write_text(f"{before}{begin}\n{copy.getvalue().strip()}\n\n{end}{after}")


class _Copy(StringIO):
    """Keeps what is written, and writes it on."""

    def __init__(self, to: TextIO) -> None:
        super().__init__()
        self._to = to

    def write(self, text: str) -> int:
        self._to.write(text)
        return super().write(text)

    def flush(self) -> None:
        self._to.flush()
