"""The pages that people read, and the blocks of code in them."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "config/README.md",
    "deploy/README.md",
    "deploy/runbook.md",
)
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: where it stands, its language, and its text without indentation."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"


def text(name: str) -> str:
    """Return a page."""
    return (ROOT / name).read_text()


def blocks(language: str, names: tuple[str, ...] = NAMES) -> list[Block]:
    """Return every block of this language, in the order of the pages."""
    return [
        Block(name, _line(name, found.start()), found[2], textwrap.dedent(found[3]))
        for name in names
        for found in _BLOCK.finditer(text(name))
        if found[2] == language
    ]


def _line(name: str, offset: int) -> int:
    return text(name)[:offset].count("\n") + 1


def steps(name: str, heading: str) -> list[Block]:
    """Return the blocks of one section, whatever their language, in order."""
    begin = text(name).index(f"\n{heading}\n")
    section = text(name)[begin:].split("\n## ", 2)[1]
    return [
        Block(name, _line(name, begin), found[2], textwrap.dedent(found[3]))
        for found in _BLOCK.finditer(section)
    ]
