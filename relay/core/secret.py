"""A secret that cannot be printed by accident."""

from typing import Final


class Secret:
    """Bytes that show themselves only when asked by name.

    `repr`, `str`, formatting and a dataclass that holds one all print `***`.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value: Final = value.encode() if isinstance(value, str) else value

    def reveal(self) -> bytes:
        """Return the secret. Call this inside verifiers and signers only."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)
