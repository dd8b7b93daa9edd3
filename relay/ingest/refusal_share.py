"""Refusals of senders that nothing vouches for: which are kept, so that they crowd out no others.

Where an endpoint enforces no addresses, anybody's delivery is refused after its body was read. A
sender whose secret is wrong wants to be found there; a flood of rubbish does not. So these have a
small share of their own, counted by network, unless their signature fits.
"""

from collections import Counter
from typing import Final

from relay.allowlist import Mode
from relay.core.errors import Reason, Refusal
from relay.core.request import Address, Delivery
from relay.ingest.admission import Endpoint
from relay.ingest.client_address import ClientKey, network_key

#: Of one window of writing: how many, of one network, and bytes of them.
_PER_WINDOW: Final = 50
_PER_NETWORK: Final = 5
_BYTES: Final = 1024 * 1024

#: Deliveries that are verified once more in a window, to know whether their signature fits.
_PROOFS: Final = 50

#: Reasons that tell nothing of the signature, or that it does not fit.
_UNPROVEN: Final = frozenset(
    {
        Reason.SIGNATURE_MISSING,
        Reason.SIGNATURE_MISMATCH,
        Reason.TIMESTAMP_INVALID,
        Reason.TIMESTAMP_OUTSIDE_WINDOW,
    }
)


class UnvouchedShare:
    """What may still be kept of refusals that nothing vouches for, in one window of writing."""

    def __init__(self) -> None:
        self._networks = Counter[ClientKey]()
        self._left = _BYTES
        self._proofs = _PROOFS

    def may_prove(self) -> bool:
        """Return whether one more delivery may be verified again; it counts from then on."""
        self._proofs -= 1
        return self._proofs >= 0

    def take(self, client: Address, size: int) -> bool:
        """Return whether a refusal of this client is kept; it counts from then on."""
        network = network_key(client)
        if (
            self._networks.total() >= _PER_WINDOW
            or self._networks[network] >= _PER_NETWORK
            or size > self._left
        ):
            return False
        self._networks[network] += 1
        self._left -= size
        return True

    def renew(self) -> None:
        """Start a window."""
        self._networks.clear()
        self._left = _BYTES
        self._proofs = _PROOFS


def is_vouched(
    endpoint: Endpoint, delivery: Delivery, refusal: Refusal, share: UnvouchedShare
) -> bool:
    """Return whether the client of a refused delivery is listed, or its signature fits.

    For the latter it is verified once more, as often as the share allows.
    """
    if endpoint.mode is Mode.ENFORCE or endpoint.allowlist.find(delivery.client) is not None:
        return True
    if refusal.reason in _UNPROVEN or not share.may_prove():
        return False
    return _has_right_signature(endpoint, delivery)


def _has_right_signature(endpoint: Endpoint, delivery: Delivery) -> bool:
    """Return whether a refusal came behind a signature that had been verified."""
    verified: list[object] = []
    try:
        endpoint.inspector.verify(delivery, verified.append)
    except Refusal as refusal:
        return bool(verified) and refusal.reason not in _UNPROVEN
    return True
