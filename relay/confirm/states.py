"""The states of a Midtrans transaction, and which can follow which. No I/O.

From Midtrans' page on the status cycle. What it does not say: how an authorization ends other than
by capture, and what follows a part of an amount that was refunded or charged back. Where it is
silent, what looks like progress is taken for it: the rest of an amount can still go either way.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_AFTER_SETTLEMENT: Final = frozenset(
    # Some banks take a settlement back within minutes: `deny`.
    {"refund", "partial_refund", "chargeback", "partial_chargeback", "deny"}
)

_AFTER_A_PART: Final = frozenset({"refund", "partial_refund", "chargeback", "partial_chargeback"})

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
        "partial_refund": _AFTER_A_PART,
        "partial_chargeback": _AFTER_A_PART,
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


# What fraud detection makes of a card. What is challenged, a person or time decides; what is
# denied stays so.
_ACCEPTED: Final = "accept"
_CHALLENGED: Final = "challenge"
_DENIED: Final = "deny"

# Fraud detection has yet to judge, or to judge again.
_UNJUDGED: Final = frozenset({"pending", "authorize"})

# The money is there, or will be.
_PAID: Final = frozenset({"capture", "settlement"})


def fraud_can_become(state: str, fraud: str, later_state: str, later: str) -> bool:
    """Tell whether a fraud status that was said with one state can be another with the later one.

    All in lower case. `later_state` can follow `state`. Empty where nothing is said of fraud:
    many notifications say nothing, and mean `accept`; an API that says nothing contradicts nothing.
    """
    fraud = fraud or _ACCEPTED
    if later in {"", fraud}:
        return True
    if state != later_state and state in _UNJUDGED:
        return True
    if fraud == _CHALLENGED:
        return later in {_ACCEPTED, _DENIED}
    # Midtrans can cancel what turns out to be fraud, after it was accepted.
    return fraud == _ACCEPTED and later == _DENIED and later_state not in _PAID
