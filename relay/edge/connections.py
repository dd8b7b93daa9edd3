"""How many connections there may be, in all and from one address."""

from collections import Counter
from collections.abc import Callable

from relay.model import Address


class Connections:
    """Counts open connections and says when there are enough."""

    def __init__(
        self,
        *,
        total: int,
        per_address: int,
        shares_address: Callable[[Address], bool],
        ceiling: int | None = None,
    ) -> None:
        """Set the limits.

        ceiling: how many there can be in all, whatever the limits are.
        shares_address: true for a trusted proxy, behind which many clients stand; those do not
            share a limit among them.
        """
        self._ceiling = ceiling
        self.become(total=total, per_address=per_address)
        self._shares_address = shares_address
        self._open: Counter[Address] = Counter()
        self._count = 0

    def become(self, *, total: int, per_address: int) -> None:
        """Set other limits. Connections that are open already stay so."""
        self._total = total if self._ceiling is None else min(total, self._ceiling)
        self._per_address = per_address

    def __len__(self) -> int:
        return self._count

    def enter(self, peer: Address) -> bool:
        """Count a new connection; False when it is one too many. It must `leave` either way."""
        self._open[peer] += 1
        self._count += 1
        if self._count > self._total:
            return False
        return self._shares_address(peer) or self._open[peer] <= self._per_address

    def leave(self, peer: Address) -> None:
        """Count a connection out."""
        self._count -= 1
        self._open[peer] -= 1
        if self._open[peer] <= 0:
            del self._open[peer]
