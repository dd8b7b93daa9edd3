"""The states of a Midtrans transaction, and which can follow which. No I/O.

From Midtrans' page on the status cycle. What it does not say: how an authorization ends other than
by capture, and what follows a part of an amount that was refunded or charged back.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_AFTER_SETTLEMENT: Final = frozenset(
    # Some banks take a settlement back within minutes: `deny`.
    {"refund", "partial_refund", "chargeback", "partial_chargeback", "deny"}
)

#: What can come directly after each state; nothing, where it is the end.
NEXT: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "authorize": frozenset({"capture", "cancel", "expire"}),
        # A card that its bank asks about first (3-D Secure) is pending before it is captured.
        "pending": frozenset(
            {"settlement", "expire", "cancel", "deny", "capture", "authorize", "failure"}
        ),
        # A challenged capture is approved or denied.
        "capture": frozenset({"settlement", "cancel", "deny"}),
        "settlement": _AFTER_SETTLEMENT,
        "partial_refund": frozenset({"partial_refund", "refund"}),
        "partial_chargeback": frozenset({"partial_chargeback", "chargeback"}),
        "deny": frozenset(),
        "cancel": frozenset(),
        "expire": frozenset(),
        "failure": frozenset(),
        "refund": frozenset(),
        "chargeback": frozenset(),
    }
)


def can_become(earlier: str, later: str) -> bool:
    """Tell whether a transaction that was in one state can be in the other now.

    States are in lower case. One that is not known here can only be itself.
    """
    reached = {earlier}
    ahead = [earlier]
    while ahead:
        for state in NEXT.get(ahead.pop(), frozenset()) - reached:
            reached.add(state)
            ahead.append(state)
    return later in reached
