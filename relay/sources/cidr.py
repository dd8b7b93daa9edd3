"""Networks that are written down: a provider's published list, or the operator's own."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from relay.networks import parse_network
from relay.sources import Entry, SourceStatus


class ListedNetworks:
    """An `AddressSource` that never changes."""

    generation = 1

    def __init__(self, name: str, networks: Iterable[tuple[str, str]]) -> None:
        """Take networks as text, each with its origin.

        Raises:
            ValueError: one of them is not a network; see `parse_network`.
        """
        self._name = name
        self._entries = tuple(_entry(text, origin) for text, origin in networks)

    def entries(self) -> Sequence[Entry]:
        return self._entries

    def status(self) -> SourceStatus:
        return SourceStatus(self._name, len(self._entries), refreshed_at=None, last_error=None)

    async def run(self) -> None:
        """Return at once: there is nothing to keep fresh."""

    async def refresh(self) -> None:
        """Do nothing: a list is as fresh as it was written."""


# A provider's networks stand in the lists of all its endpoints: kept once, not once for each.
@lru_cache(maxsize=4096)
def _entry(text: str, origin: str) -> Entry:
    return Entry(parse_network(text), origin)
