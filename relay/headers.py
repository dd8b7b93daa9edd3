"""Header fields as they came."""

from collections.abc import Iterator
from functools import lru_cache


class Headers:
    """Header fields in the order received. Names compare without case, values are Latin-1 text.

    Latin-1 maps every byte to one character, so `value.encode("latin-1")` is what arrived.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: tuple[tuple[str, str], ...] = ()) -> None:
        self._fields = fields

    def values(self, name: str) -> tuple[str, ...]:
        """Return every value of this field, in order; empty when it is absent."""
        wanted = name.lower()
        return tuple([value for key, value in self._fields if key.lower() == wanted])

    def only(self, *names: str) -> "Headers":
        """Return the fields with these names, in the order received."""
        wanted = _lower(names)
        return Headers(tuple([item for item in self._fields if item[0].lower() in wanted]))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __repr__(self) -> str:
        """Names only: values may hold tokens."""
        return f"Headers({', '.join(key for key, _ in self._fields)})"


# An endpoint asks for the same few each time.
@lru_cache(maxsize=1024)
def _lower(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)
