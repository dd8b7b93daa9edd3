"""Admission of a request by its head: its endpoint, its client, and whether that may send.

Pure decisions, made before a byte of the body is looked at. Requests, `relay explain` and the
release of kept refusals are decided by the same functions.

Verification by the endpoint's provider is the second step: evidence becomes a type.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import lru_cache
from typing import Final, Protocol

from relay.allowlist import Allowlist, Entry, Mode
from relay.allowlist.registry import Knock
from relay.core.concurrency import Cancel
from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, ClientAddress, Delivery, Keep, RequestHead, VerifiedDelivery
from relay.core.strict_json import DEFAULT_LIMITS, JsonLimits
from relay.ingest.authenticated_knock import AuthenticatedKnock
from relay.ingest.client_address import ClientShare
from relay.ingest.endpoint_paths import EndpointMatch
from relay.ingest.upstream_routes import UpstreamRoute, taken
from relay.providers import Challenges, Inspector, RequestShape
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
    token: the sender's proof is a token, not a signature.
    token_in_body: that token stands in the body, so that no digest of what came is shown.
    gzip: a body in this content coding is taken; what is in it is the body everywhere else.
    answer_deadline: for senders that hang up sooner than `answer_within`; None for the others.
    confirm: the provider's API is asked about each event before it is delivered.
    json_limits: how much JSON a body may hold.
    tokenless: verifies all but a token, which is kept nowhere; None where there is none.
    authenticated_knock: lets a sender of an unknown address prove itself; None where none may.
    query: whether a caller's query goes to the upstream; None: only below a prefix.
    routes: where events go that hold some value; without a match they go to `upstreams`.
    keep: what is kept of an event once it is delivered, or passed on.
    challenges: requests that are answered at once and hold no event; None where there are none.
    """

    name: str
    path: str
    methods: tuple[str, ...]
    shapes: tuple[RequestShape, ...]
    provider: str
    environment: str
    upstreams: tuple[str, ...]
    inspector: Inspector
    headers: tuple[str, ...]
    allowlist: Allowlist
    mode: Mode
    knock: Knock | None
    proxied: bool = False
    token: bool = False
    answer_deadline: timedelta | None = None
    confirm: bool = False
    json_limits: JsonLimits = DEFAULT_LIMITS
    authenticated_knock: AuthenticatedKnock | None = None
    tokenless: Inspector | None = None
    query: bool | None = None
    keep: Keep = Keep.ALL
    routes: tuple[UpstreamRoute, ...] = ()
    token_in_body: bool = False
    gzip: bool = False
    challenges: Challenges | None = None


#: Seconds that are left for storing in any case, even when a look-up or the body took all of them.
MIN_STORE_TIME: Final = 0.25


class Standing(Enum):
    """What a head decides.

    KNOCK_FIRST: the client is on no list, and a DNS refresh may find it there.
    ONLY_IF_PROVEN: likewise, and its body is looked at: only a right signature or token counts.
    """

    ADMITTED = auto()
    REFUSED = auto()
    KNOCK_FIRST = auto()
    ONLY_IF_PROVEN = auto()


class Admission(DeliveryRecord):
    """One request from its head to its answer; each step fills in what it establishes.

    It is also the record of its log line, so that a request has one such object. It passes as the
    `AnswerContext` of its answer.

    remainder: as in `EndpointMatch`. address: its client. share: what that has in flight, this one
    counted. store_time: seconds that are left for storing what was accepted, until its sender has
    to be answered; None where it is forwarded. cancel: ends storing or forwarding. ack: its answer,
    once there is one. closed: it is finished. unknown: how it is refused unless it proves itself.
    turn: in whose hand it counts while its body is looked at. proof: digest of what was signed.
    """

    standing = Standing.ADMITTED
    match: EndpointMatch[Endpoint] | None = None
    remainder = ""
    address: ClientAddress | None = None
    share: ClientShare | None = None
    body = b""
    store_time: float | None = None
    cancel: Cancel | None = None
    ack: Ack | None = None
    closed = False
    unknown: Refusal | None = None
    turn: AuthenticatedKnock | None = None
    proof = b""

    def __init__(self, head: RequestHead, started: float) -> None:
        # Not by the record's own: a call less for each request.
        self.peer = head.peer_text or str(head.peer)
        self.received_at = head.received_at
        self.started = started
        self.head = head

    @property
    def takes_gzip(self) -> bool:
        """Whether its endpoint takes a body in gzip."""
        return self.match is not None and self.match.endpoint.gzip

    @property
    def at(self) -> datetime:
        """The wall-clock time of the answer."""
        return self.wall_clock(self.started + self.duration)


# ---- the checks -----------------------------------------------------------------------------


def check_method(match: EndpointMatch[Endpoint], head: RequestHead) -> None:
    """Raise `Refusal` METHOD_NOT_ALLOWED unless the endpoint takes this method."""
    if head.method not in match.methods:
        raise Refusal(Reason.METHOD_NOT_ALLOWED)


def match_address(endpoint: Endpoint, client: ClientAddress) -> Entry | Refusal:
    """Return the entry of the allowlist that holds this client, or what an enforcing one says."""
    entry = endpoint.allowlist.find(client)
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
    if type(found) is Entry:
        admission.matched_entry, admission.matched_host = found.text, found.host
        return True
    assert isinstance(found, Refusal)  # noqa: S101 - it is the one or the other
    if endpoint.knock is not None and admission.standing is not Standing.KNOCK_FIRST:
        return False
    if endpoint.mode is not Mode.REPORT:
        raise found
    admission.would_refuse = found.reason
    return True


def suffix_of(endpoint: Endpoint, head: RequestHead, remainder: str) -> str:
    """Return what is appended to the upstream's URL for a request, as in `Delivery`."""
    query = head.query
    if len(query) <= 1:
        return remainder
    forwards = bool(remainder) if endpoint.query is None else endpoint.query
    return remainder + (query if forwards else "?")


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
    def upstreams(self) -> tuple[str, ...]: ...

    @property
    def routes(self) -> tuple[UpstreamRoute, ...]: ...

    @property
    def inspector(self) -> Inspector: ...

    @property
    def headers(self) -> tuple[str, ...]: ...

    @property
    def confirm(self) -> bool: ...

    @property
    def keep(self) -> Keep: ...


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

    Where a token was masked, the event holds what is kept, and nothing of what was received.

    Raises:
        Refusal: with the reason of the first check that failed.
    """
    verification = endpoint.inspector.verify(delivery, on_signed)
    if verification.kept is not None:
        delivery = verification.kept
    # Authorization may hold a token. It is kept only as part of a signature that is verified.
    kept = _kept(endpoint.headers, verification.secret is not None)
    upstreams = endpoint.upstreams
    if endpoint.routes:
        route = taken(endpoint.routes, delivery, verification)
        upstreams = upstreams if route is None else route.upstreams
    return VerifiedDelivery(
        event_id,
        endpoint.provider,
        endpoint.environment,
        upstreams,
        delivery.head.headers.only(kept),
        delivery,
        verification,
        reconciled,
        endpoint.confirm and not reconciled,
        endpoint.keep,
    )


# An endpoint asks for the same few names each time.
@lru_cache(maxsize=1024)
def _kept(own: tuple[str, ...], signed: bool) -> frozenset[str]:
    """Return the names, in lower case, of the fields that are kept of a delivery."""
    names = {name.lower() for name in (*COMMON_HEADERS, *own)}
    return frozenset(names if signed else names - {"authorization"})
