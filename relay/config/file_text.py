"""The text of a configuration file, and why there is none: no file, no UTF-8."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Final

from relay.config.yaml_document import TOP, ConfigIssue, Position, Unreadable, parse
from relay.core.files import read

MAX_FILE_BYTES: Final = 1024 * 1024

_NO_FILE: Final = (
    "there is no such file; name one with -c FILE or in RELAY_CONFIG, or write one with relay init"
)
_EIGHT_BITS: Final = (("Latin-1", "latin-1"), ("Windows-1252", "cp1252"))


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        Unreadable: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        content = read(path, MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(ConfigIssue((), unreadable(error))) from None
    if len(content) > MAX_FILE_BYTES:
        raise Unreadable(ConfigIssue((), "larger than 1 MiB"))
    return decode(content)


def as_written(path: Path) -> object:
    """Return what a file holds, unchecked and without its references; None if it is unreadable."""
    try:
        return parse(read_text(path)).data
    except Unreadable:
        return None


def unreadable(error: OSError | ValueError) -> str:
    """Return what to tell of a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return _NO_FILE
    return f"cannot read the file: {error.strerror if isinstance(error, OSError) else error}"


def decode(content: bytes) -> str:
    """Return bytes as text.

    Raises:
        Unreadable: they are not UTF-8; the issue names the first byte that is not, and what it may
            be.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(_not_utf8(content, error.start)) from None


def _not_utf8(content: bytes, at: int) -> ConfigIssue:
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return ConfigIssue((), "not UTF-8 but UTF-16; save the file as UTF-8", position=TOP)
    before = content[:at].decode()
    position = Position(before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
    byte = content[at : at + 1]
    letters: dict[str, list[str]] = {}
    for name, codec in _EIGHT_BITS:
        letter = byte.decode(codec, errors="replace")
        if letter.isprintable() and letter != "\ufffd":
            letters.setdefault(letter, []).append(name)
    guess = ", ".join(f"{letter} in {' and '.join(names)}" for letter, names in letters.items())
    what = f"byte 0x{byte.hex().upper()} is {guess}" if guess else f"byte 0x{byte.hex().upper()}"
    return ConfigIssue((), f"not UTF-8: {what}; save the file as UTF-8", position=position)
