"""Spelling an event key: readable, safe in logs and headers, and of bounded length."""

import hashlib
import re
from typing import Final
from urllib.parse import quote

MAX_PART: Final = 128

_PLAIN = re.compile(r"[A-Za-z0-9._ +/=@-]*", re.ASCII)


def spell(*parts: str) -> str:
    """Return the parts joined by colons.

    Two different lists of parts give two different keys. Everything but plain ASCII is
    percent-encoded, and a part longer than `MAX_PART` becomes `*` and its SHA-256.
    """
    return ":".join(_part(part) for part in parts)


def of_body(body: bytes) -> str:
    """Return the key of a message that names nothing to tell it by: its SHA-256."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _part(part: str) -> str:
    if len(part) > MAX_PART:
        return "*" + hashlib.sha256(part.encode("utf-8")).hexdigest()
    if _PLAIN.fullmatch(part):
        return part
    return quote(part, safe=" +/=@")
