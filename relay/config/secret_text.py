"""What is odd about the text of a secret: blanks, quotes, marks and lines that came along with it.

Pure. No sentence here holds any of the secret.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from relay.core.secret import Secret

_BOM: Final = "\ufeff"
#: Pairs that a secret was copied with.
_AROUND: Final = {'"': '"', "'": "'", "`": "`", "<": ">", "\u201c": "\u201d", "\u2018": "\u2019"}
# A line of a file of variables, for systemd, Docker or a shell.
_ASSIGNMENT: Final = re.compile(r"(?:export\s+)?[A-Z][A-Z0-9_]{3,}=(?=[^=])")
#: Words in the name of a header field that holds a secret.
_SECRET_WORDS: Final = re.compile(
    r"(?:^|[-_])(?:api)?(?:key|token|secret|auth|authorization|password|passwd|credentials?|cookie"
    r"|session|jwt)(?:$|[-_])",
    re.IGNORECASE,
)
#: Letters and figures in a row, as keys and tokens have them; names of servers are shorter.
_RUN: Final = re.compile(r"[A-Za-z0-9]{16,}")
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


def oddity(secret: Secret) -> str | None:
    """Return what is odd, such as `ends in a blank`; None for a text that stands by itself.

    The bytes of a key in PEM or DER are not judged.
    """
    value = secret.reveal()
    if b"-----BEGIN" in value:
        return None
    if value.startswith(_UTF16):
        return "is text in UTF-16"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        # Bytes of some other kind may be what the sender has.
        return None
    if not text.strip():
        # Empty, which is said elsewhere.
        return None
    return next((said for odd, said in _ODDITIES if odd(text)), None)


class WrittenOut(Secret):
    """One that stands in the configuration itself, which may be no secret at all."""

    __slots__ = ()


def looks_secret(name: str, value: Secret) -> bool:
    """Return whether a header field of this name and value holds a secret, by its looks."""
    if _SECRET_WORDS.search(name):
        return True
    runs = _RUN.findall(value.reveal().decode(errors="replace"))
    return any(not run.isalpha() and not run.isdecimal() for run in runs)


def without_oddities(value: bytes) -> bytes:
    """Return the bytes that may have been meant: the first line, without what stands around it."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.strip()
    before = ""
    while text and text != before:
        before = text
        text = "".join(each for each in text if not _is_invisible(each)).strip()
        text = text.splitlines()[0] if text else ""
        text = _ASSIGNMENT.sub("", text, count=1) if _ASSIGNMENT.match(text) else text
        text = text[1:-1] if _is_around(text) else text
    return text.encode()


def _is_around(text: str) -> bool:
    return len(text) > 1 and _AROUND.get(text[0]) == text[-1]


def _is_invisible(letter: str) -> bool:
    """Return whether a letter has no width: a joiner, a mark of order, a soft hyphen."""
    return unicodedata.category(letter) == "Cf"


_ODDITIES: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (lambda text: text.startswith(_BOM), "begins with a byte order mark"),
    (lambda text: len(text.strip("\r\n").splitlines()) > 1, "holds more than one line"),
    (lambda text: text != text.rstrip("\r\n"), "ends in a line break"),
    (lambda text: text != text.lstrip(), "begins with a blank"),
    (lambda text: text != text.rstrip(), "ends in a blank"),
    (lambda text: any(map(_is_invisible, text)), "holds a letter without width, which nobody sees"),
    (_is_around, "stands in quotes or brackets"),
    (lambda text: _ASSIGNMENT.match(text) is not None, "begins with the name of a variable"),
    (
        lambda text: any(unicodedata.category(each) == "Cc" for each in text),
        "holds a control character",
    ),
)
