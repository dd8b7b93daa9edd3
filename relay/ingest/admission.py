"""Admission of a request by its head: its endpoint, its client, and whether that may send.

Pure decisions, made before a byte of the body is looked at. Requests, `relay explain` and the
release of kept refusals are decided by the same functions.

Verification by the endpoint's provider is the second step: evidence becomes a type.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Protocol

from relay.allowlist import Allowlist, Entry, Mode
from relay.allowlist.registry import Knock
from relay.core.concurrency import Cancel
from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, ClientAddress, Delivery, RequestHead, VerifiedDelivery
from relay.ingest.client_address import ClientShare
from relay.ingest.routing import Route
from relay.providers import Inspector, RequestShape
from relay.signatures import OnSigned, ignore_signed
from relay.telemetry import DeliveryRecord

# ---- admission ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One public path: a provider, an environment and secrets, bound together.

    shapes: what a provider appends to this path; empty where it calls exactly this one.
    headers: the provider's own header fields that may reach the upstream.
    proxied: deliveries are forwarded and answered with the upstream's answer, not stored.
    mode: whether the allowlist refuses, reports or is off.
    knock: refreshes DNS for a refused address; None when no host names are involved.
    token: the sender's proof is a token in a header field, not a signature.
    answer_deadline: for senders that hang up sooner than `answer_within`; None for the others.
    confirm: the provider's API is asked about each event before it is delivered.
    """

    name: str
    path: str
    methods: tuple[str, ...]
    shapes: tuple[RequestShape, ...]
    provider: str
    environment: str
    upstream: str
    inspector: Inspector
    headers: tuple[str, ...]
    allowlist: Allowlist
    mode: Mode
    knock: Knock | None
    proxied: bool = False
    token: bool = False
    answer_deadline: timedelta | None = None
    confirm: bool = False


class Standing(Enum):
    """What a head decides.

    KNOCK_FIRST: the client is on no list, and a DNS refresh may find it there.
    """

    ADMITTED = auto()
    REFUSED = auto()
    KNOCK_FIRST = auto()


@dataclass(slots=True, eq=False)
class Admission:
    """One request from its head to its answer; each step fills in what it establishes.

    record: its log line and metrics. read_at: monotonic time when its body was complete.
    share: what its client has in flight, this request counted. cancel: ends storing or forwarding.
    ack: its answer, once there is one. closed: it is finished.
    """

    head: RequestHead
    record: DeliveryRecord
    standing: Standing = Standing.ADMITTED
    route: Route[Endpoint] | None = None
    client: ClientAddress | None = None
    share: ClientShare | None = None
    read_at: float = 0.0
    body: bytes = b""
    cancel: Cancel | None = None
    ack: Ack | None = None
    closed: bool = False


# ---- the checks -----------------------------------------------------------------------------


def check_method(route: Route[Endpoint], head: RequestHead) -> None:
    """Raise `Refusal` METHOD_NOT_ALLOWED unless the route takes this method."""
    if head.method not in route.methods:
        raise Refusal(Reason.METHOD_NOT_ALLOWED)


def match_address(endpoint: Endpoint, client: ClientAddress) -> Entry | Refusal:
    """Return the entry of the allowlist that holds this client, or what an enforcing one says."""
    entry = endpoint.allowlist.match(client.address)
    if entry is not None:
        return entry
    unready = endpoint.allowlist.unready()
    if unready:
        return Refusal(Reason.SOURCE_UNKNOWN, f"no addresses yet for {', '.join(unready)}")
    return Refusal(Reason.SOURCE_NOT_ALLOWED)


def check_address(admission: Admission, endpoint: Endpoint, client: ClientAddress) -> bool:
    """Check the client against the allowlist; return whether it is on it, or need not be.

    False: the endpoint enforces or reports, and a knock may still change that.

    Raises:
        Refusal: the endpoint enforces its list, and no knock is possible.
    """
    if endpoint.mode is Mode.OFF:
        return True
    found = match_address(endpoint, client)
    record = admission.record
    if not isinstance(found, Refusal):
        record.matched_entry, record.matched_host = found.network, found.host
        return True
    if endpoint.knock is not None and admission.standing is not Standing.KNOCK_FIRST:
        return False
    if endpoint.mode is not Mode.REPORT:
        raise found
    record.would_refuse = found.reason
    return True


# ---- verification ---------------------------------------------------------------------------

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
