"""What stands around a signature: a prefix, or a list of several."""

import re
from dataclasses import dataclass
from typing import Final

from relay.core.errors import Reason, Refusal

#: More signatures than a rotation has; each costs a verification with every secret.
MAX_SIGNATURES: Final = 16

_VERSIONED = re.compile(r"([A-Za-z0-9_-]+),\{signature\}")
_KEYED = re.compile(
    r"([A-Za-z0-9_-]+)=\{(timestamp|signature)\}([,;]) ?([A-Za-z0-9_-]+)=\{(timestamp|signature)\}"
)
_PREFIXED = re.compile(r"([^{}]*)\{signature\}")
_NAME = r"[A-Za-z0-9_-]+(?:=|(?:/[A-Za-z0-9_-]+)*/)"
_NAMED = re.compile(_NAME)
# Entries of a list, each with its name, apart by one kind of mark.
_ENTRY = rf"{_NAME}[^,; ]+"
_LIST = re.compile(rf"{_ENTRY}(?:, ?{_ENTRY})+|{_ENTRY}(?:; ?{_ENTRY})+")
_MARKS = re.compile(r"[,;] ?")


@dataclass(frozen=True, slots=True)
class ParsedSignature:
    """The signatures in a value, and the time if it is part of the value."""

    signatures: tuple[str, ...]
    timestamp: str | None = None


class Format:
    """A parsed format.

    Raises:
        ValueError: it is none of the known ones; the message names them.
    """

    def __init__(self, text: str) -> None:
        self._prefix = self._version = self._separator = ""
        self._keys: dict[str, str] = {}
        self._is_named = False
        if versioned := _VERSIONED.fullmatch(text):
            self._version = versioned[1]
        elif (keyed := _KEYED.fullmatch(text)) and keyed[2] != keyed[5] and keyed[1] != keyed[4]:
            self._separator = keyed[3]
            self._keys = {keyed[2]: keyed[1], keyed[5]: keyed[4]}
        elif prefixed := _PREFIXED.fullmatch(text):
            self._prefix = prefixed[1]
            self._is_named = _NAMED.fullmatch(self._prefix) is not None
        else:
            raise ValueError(
                'write "{signature}", a prefix as in "sha256={signature}", a list with the time as'
                ' in "t={timestamp},v1={signature}", or "v1,{signature}" for entries apart by'
                " spaces"
            )

    @property
    def holds_time(self) -> bool:
        """Whether the signed time is part of the signature's value."""
        return bool(self._keys)

    def read(self, value: str) -> ParsedSignature:
        """Parse `value`; entries that are not in the format are ignored.

        Raises:
            Refusal: SIGNATURE_MISSING when there is no signature or not one time,
                SIGNATURE_MISMATCH when the prefix is another one or there are too many.
        """
        if self._keys:
            return self._read_keyed(value)
        if self._version:
            entries = [entry.partition(",") for entry in value.split(" ")]
            return ParsedSignature(
                checked_count([text for name, _, text in entries if name == self._version])
            )
        if self._is_named and ("," in value or ";" in value) and _LIST.fullmatch(value):
            # A list in which the same name may stand several times.
            found = [each for each in _MARKS.split(value) if each.startswith(self._prefix)]
            return ParsedSignature(
                checked_count([each.removeprefix(self._prefix) for each in found])
            )
        if not value.startswith(self._prefix):
            raise Refusal(Reason.SIGNATURE_MISMATCH, f"does not begin with {self._prefix}")
        return ParsedSignature(checked_count([value.removeprefix(self._prefix)]))

    def write(self, signature: str, timestamp: str) -> str:
        """Return the value that `read` parses."""
        if self._keys:
            values = {"signature": signature, "timestamp": timestamp}
            return self._separator.join(f"{key}={values[kind]}" for kind, key in self._keys.items())
        return f"{self._version},{signature}" if self._version else self._prefix + signature

    def _read_keyed(self, value: str) -> ParsedSignature:
        time_key, signature_key = self._keys["timestamp"], self._keys["signature"]
        times: list[str] = []
        signatures: list[str] = []
        for entry in value.split(self._separator):
            key, _, text = entry.strip(" ").partition("=")
            if key == time_key:
                times.append(text)
            elif key == signature_key:
                signatures.append(text)
        if len(times) != 1 or not times[0]:
            raise Refusal(Reason.SIGNATURE_MISSING, f"{time_key}= is not there exactly once")
        return ParsedSignature(checked_count(signatures), times[0])


def checked_count(signatures: list[str]) -> tuple[str, ...]:
    """Return those that are not empty.

    Raises:
        Refusal: SIGNATURE_MISSING for none, SIGNATURE_MISMATCH for more than `MAX_SIGNATURES`.
    """
    found = tuple(filter(None, signatures))
    if not found:
        raise Refusal(Reason.SIGNATURE_MISSING, "there is no signature of the wanted kind")
    if len(found) > MAX_SIGNATURES:
        raise Refusal(Reason.SIGNATURE_MISMATCH, f"more than {MAX_SIGNATURES} signatures")
    return found
