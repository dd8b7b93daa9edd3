"""Regular expressions of the configuration, matched in linear time against what strangers send.

RE2 runs no pattern by backtracking: a match takes time proportional to the text, whatever the
pattern. What it cannot do so (look-around, back references) is refused when the pattern is read.
"""

from typing import Final

#: Longer texts match no pattern. With `_MAX_MEMORY` it bounds one match to some milliseconds.
MAX_TEXT: Final = 256

#: Bytes for the compiled pattern and its states, so that repeated repetitions stay small.
_MAX_MEMORY: Final = 1024 * 1024


class LinearPattern:
    """A compiled regular expression in RE2's syntax, for whole texts."""

    __slots__ = ("_fullmatch",)

    def __init__(self, text: str) -> None:
        """Compile the pattern.

        Raises:
            ValueError: it is no regular expression, cannot be matched in linear time, or is too
                large once its repetitions are written out.
        """
        # Most configurations have no pattern, and most commands read none.
        import re2  # noqa: PLC0415

        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MAX_MEMORY
        try:
            self._fullmatch = re2.compile(text, options).fullmatch
        except re2.error as error:
            raise ValueError(_reason(error.args[0] if error.args else b"")) from None
        except UnicodeEncodeError:
            raise ValueError("holds half a surrogate pair") from None

    def fullmatch(self, text: str) -> bool:
        """Return whether the whole text matches; one longer than `MAX_TEXT` never does."""
        return len(text) <= MAX_TEXT and self._fullmatch(text) is not None


def _reason(said: object) -> str:
    reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    if reason.startswith(("invalid perl operator: (?=", "invalid perl operator: (?!")):
        return f"{reason}; look-ahead does not run in linear time"
    if reason.startswith("invalid perl operator: (?<"):
        return f"{reason}; look-behind does not run in linear time"
    if reason.startswith("invalid escape sequence: \\") and reason[-1:].isdecimal():
        return f"{reason}; back references do not run in linear time"
    return reason
