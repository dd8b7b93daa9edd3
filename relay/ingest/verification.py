"""Verification of a delivery by its endpoint's provider: evidence becomes a type.

Requests, `relay explain`, the release of kept refusals and reconciliation are verified by the same
function.
"""

from typing import Protocol

from relay.core.request import Delivery, VerifiedDelivery
from relay.providers import Inspector
from relay.signatures import OnSigned, ignore_signed

#: The sender's header fields that every provider's deliveries keep.
COMMON_HEADERS = ("Content-Type", "User-Agent", "Accept")


class Verifying(Protocol):
    """What verification needs of an endpoint."""

    @property
    def provider(self) -> str: ...

    @property
    def environment(self) -> str: ...

    @property
    def upstream(self) -> str: ...

    @property
    def inspector(self) -> Inspector: ...

    @property
    def headers(self) -> tuple[str, ...]: ...

    @property
    def confirm(self) -> bool: ...


def verify_delivery(
    endpoint: Verifying,
    delivery: Delivery,
    event_id: str,
    *,
    reconciled: bool = False,
    on_signed: OnSigned = ignore_signed,
) -> VerifiedDelivery:
    """Verify a delivery by its endpoint's provider; return it as the event with this id.

    reconciled: it is an answer of the provider's API, which need not be asked again.
    on_signed: as in `relay.providers.Inspector.verify`.

    Raises:
        Refusal: with the reason of the first check that failed.
    """
    verification = endpoint.inspector.verify(delivery, on_signed)
    headers = endpoint.headers
    if headers and verification.secret is None:
        # Authorization may hold a token. It is kept only as part of a signature that is verified.
        headers = tuple(name for name in headers if name.lower() != "authorization")
    return VerifiedDelivery(
        event_id=event_id,
        provider=endpoint.provider,
        environment=endpoint.environment,
        upstream=endpoint.upstream,
        headers=delivery.head.headers.only(*COMMON_HEADERS, *headers),
        delivery=delivery,
        verification=verification,
        reconciled=reconciled,
        confirm=endpoint.confirm and not reconciled,
    )
