"""Looking an address up among many networks.

Networks are sorted integer ranges, one list an IP version, so a look-up is one bisection however
many there are. Two networks either nest or are apart: dropping the nested ones leaves ranges that
do not overlap.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Generic, TypeVar

from netaddr import IPNetwork

from relay.model import Address

T = TypeVar("T")


class Intervals(Generic[T]):
    """An immutable map from networks to values; a look-up finds the widest network's value."""

    def __init__(self, items: Iterable[tuple[IPNetwork, T]]) -> None:
        self._starts: dict[int, list[int]] = {4: [], 6: []}
        self._ends: dict[int, list[tuple[int, T]]] = {4: [], 6: []}
        # The widest network first where several begin at the same address.
        for network, value in sorted(items, key=lambda item: (item[0].first, -item[0].last)):
            starts, ends = self._starts[network.version], self._ends[network.version]
            if ends and network.last <= ends[-1][0]:
                continue
            starts.append(network.first)
            ends.append((network.last, value))

    def find(self, address: Address) -> T | None:
        """Return the value of the widest network that holds this address, or None."""
        number = int(address)
        at = bisect_right(self._starts[address.version], number) - 1
        if at < 0:
            return None
        last, value = self._ends[address.version][at]
        return value if number <= last else None
