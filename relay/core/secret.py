"""A secret that does not print, and masking of secrets in text.

Logs and tickets are copied around, so no credential may stand in one: known secrets, and what looks
like a token, are replaced by `***`.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from relay.core.request import Headers

# ---- a secret -------------------------------------------------------------------------------


class Secret:
    """Bytes that are read only through `reveal`.

    `repr`, `str`, formatting and a dataclass that holds one all print `***`.
    """

    __slots__ = ("_masked", "_value")

    def __init__(self, value: bytes | str) -> None:
        self._value: Final = value.encode() if isinstance(value, str) else value
        self._masked: frozenset[str] | None = None

    def reveal(self) -> bytes:
        """Return the secret. Call this inside verifiers and signers only."""
        return self._value

    @property
    def masked(self) -> frozenset[str]:
        """Every text that a `Mask` replaces for it.

        Made once: all secrets of a configuration are masked in each answer that is kept.
        """
        if self._masked is None:
            found = {spelled for text in _shown(self._value) for spelled in _spellings(text)}
            self._masked = _long_enough((*found, *_in_base64(self._value.strip())))
        return self._masked

    def __repr__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


class RevealedSecrets(tuple[bytes, ...]):
    """The bytes of several secrets, revealed once for all that is verified; prints `***`."""

    __slots__ = ()

    @classmethod
    def of(cls, secrets: Iterable[Secret]) -> "RevealedSecrets":
        """Reveal these secrets, in their order."""
        return cls(secret.reveal() for secret in secrets)

    def __repr__(self) -> str:
        return "***"


# ---- masking --------------------------------------------------------------------------------

MASK: Final = "***"

#: Header fields that hold tokens by definition.
_TOKENS: Final = ("Authorization", "Proxy-Authorization", "Cookie")
_SIGNATURE: Final = "hmac-sha256 "

#: Shorter secrets would match everywhere.
_MIN_MASKED: Final = 4

#: In letters of Base64, of which four stand for three bytes.
_MIN_IN_BASE64: Final = 8
_URL_SAFE: Final = str.maketrans("+/", "-_")

#: Some write the escapes of a URL in lower case.
_ESCAPE: Final = re.compile("%[0-9A-F]{2}")

#: The most of one text that is shown.
_MAX_MASKED: Final = 1000


class Mask:
    """Replaces configured secrets, and the tokens of one request, by `***`."""

    def __init__(
        self, secrets: Iterable[Secret], headers: Headers, token_fields: Iterable[str] = ()
    ) -> None:
        hidden: set[str] = set()
        for secret in secrets:
            hidden |= secret.masked
        for name in (*_TOKENS, *token_fields):
            for value in headers.values(name):
                if not value.lower().startswith(_SIGNATURE):
                    for token in (value, value.partition(" ")[2]):
                        spelled = (*_spellings(token), *_in_base64(token.encode().strip()))
                        hidden |= _long_enough(spelled)
        # The longest first: one may be a part of another.
        self._hidden = sorted(hidden, key=len, reverse=True)

    @property
    def longest(self) -> int:
        """The letters of the longest text that is masked."""
        return len(self._hidden[0]) if self._hidden else 0

    def whole(self, shown: str) -> str:
        """Return the whole text with every secret masked."""
        for hidden in self._hidden:
            shown = shown.replace(hidden, MASK)
        return shown

    def text(self, shown: str) -> str:
        """Return the text with every secret masked, cut after 1000 characters."""
        shown = self.whole(shown)
        if len(shown) > _MAX_MASKED:
            return f"{shown[:_MAX_MASKED]}… ({len(shown)} characters)"
        return shown

    def signed(self, parts: Iterable[bytes | None]) -> str:
        """Return a signed text with its parts joined, and a mask where the secret belongs."""
        return self.text("".join(MASK if part is None else _readable(part) for part in parts))


def _long_enough(texts: Iterable[str]) -> frozenset[str]:
    """Return those of these texts that are masked."""
    return frozenset(text for text in texts if len(text) >= _MIN_MASKED)


def _spellings(text: str) -> Iterator[str]:
    """Yield a secret as it stands by itself, in JSON, in a URL or a form, and on a page."""
    for each in (text, text.strip()):
        yield each
        for escaped in (json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1]):
            yield escaped
            yield escaped.replace("/", "\\/")
        for quoted in (quote(each, safe=""), quote_plus(each), quote(each)):
            yield quoted
            yield _ESCAPE.sub(lambda found: found[0].lower(), quoted)
        yield html.escape(each)


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what Base64 of any text with a secret in it holds, in either alphabet.

    Three bytes become four letters, so that it depends on where the secret begins. Letters that
    stand for bytes before or behind it as well are left out.
    """
    for before in range(3):
        letters = base64.b64encode(bytes(before) + secret).decode()
        whole = letters[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        if len(whole) >= _MIN_IN_BASE64:
            yield whole
            yield whole.translate(_URL_SAFE)


def _shown(secret: bytes) -> Iterator[str]:
    """Yield a secret as it is read in a step, a header field and a body."""
    yield _readable(secret)
    yield secret.decode("latin-1")
    yield secret.decode("utf-8", "backslashreplace")


def _readable(part: bytes) -> str:
    try:
        return part.decode("utf-8")
    except UnicodeDecodeError:
        return part.decode("latin-1")
