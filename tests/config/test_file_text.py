"""Bytes of a file to text, and which byte is none."""

from pathlib import Path

import pytest

from relay.config.file_text import MAX_FILE_BYTES, decode, read_text
from relay.config.yaml_document import TOP, Position, Unreadable


def refused(content: bytes) -> tuple[Position | None, str]:
    with pytest.raises(Unreadable) as caught:
        decode(content)
    return caught.value.issue.position, caught.value.issue.message


def test_utf_8_is_text() -> None:
    assert decode("blåbær: 雪\n".encode()) == "blåbær: 雪\n"


@pytest.mark.parametrize(
    ("content", "at", "what"),
    [
        (b"a: \xe9\n", (1, 4), "byte 0xE9 is é in Latin-1 and Windows-1252"),
        (b"a: 1\nb: \x93x\x94", (2, 4), "byte 0x93 is \u201c in Windows-1252"),
        # Columns are characters, not bytes.
        ("a: blå ".encode() + b"\xf8", (1, 8), "byte 0xF8 is ø in Latin-1 and Windows-1252"),
        # Cut off within a letter.
        ("a: å".encode()[:-1], (1, 4), "byte 0xC3 is Ã in Latin-1 and Windows-1252"),
        (b"\x81", (1, 1), "byte 0x81"),
    ],
)
def test_the_first_byte_that_is_no_utf_8_is_named(
    content: bytes, at: tuple[int, int], what: str
) -> None:
    assert refused(content) == (at, f"not UTF-8: {what}; save the file as UTF-8")


@pytest.mark.parametrize("order", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(order: str) -> None:
    content = "\ufeffa: 1\n".encode(order) if order != "utf-16" else "a: 1\n".encode(order)
    assert refused(content) == (TOP, "not UTF-8 but UTF-16; save the file as UTF-8")


def test_a_file_that_is_too_large_is_not_taken_for_another_encoding(tmp_path: Path) -> None:
    # The limit falls into the middle of a letter.
    (tmp_path / "file").write_bytes(b"#" * MAX_FILE_BYTES + "å".encode())
    with pytest.raises(Unreadable, match=r"^larger than 1 MiB$"):
        read_text(tmp_path / "file")
