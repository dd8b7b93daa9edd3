"""Judge by a configuration what was received before, from what is kept of it.

The decisions are those of `relay.ingest`, asked with what is stored. Of header fields only some are
kept, and of tokens none: what hangs on the others is not judged, and says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from relay.allowlist import Mode
from relay.app import builder
from relay.config import Settings, provider_of
from relay.core.clock import Clock
from relay.core.conditions import HeaderCondition
from relay.core.errors import Reason, Refusal
from relay.core.event import Event
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    RequestHead,
    VerifiedDelivery,
    Via,
    query_dropped,
)
from relay.ingest.admission import (
    COMMON_HEADERS,
    Endpoint,
    check_method,
    match_address,
    suffix_of,
    verify_delivery,
)
from relay.ingest.endpoint_paths import EndpointMatch, EndpointPaths
from relay.ingest.refusals import verifying_kept
from relay.ingest.upstream_routes import looked_at, taken
from relay.spool.refusals import Refused

# ---- results --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """It would be accepted.

    passed: passed on, not stored. hold: why it would be held. by: which route says where it goes;
    empty where its endpoint has none.
    """

    endpoint: str
    upstreams: tuple[str, ...]
    passed: bool
    hold: str | None
    by: str = ""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """It would be refused."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Unjudged:
    """What is kept of it does not tell. `why` is the same for all that lack the same."""

    why: str


Judgement = Taken | NotTaken | Unjudged

#: An event is stored as nothing that it could be judged by.
_NO_ID: Final = ""

#: Refusals that a field that is not there may be the cause of.
_OF_ABSENCE: Final = frozenset(
    {Reason.SIGNATURE_MISSING, Reason.TIMESTAMP_INVALID, Reason.FIELD_INVALID}
)
_HOST: Final = "host"
_COMMON: Final = frozenset(name.lower() for name in COMMON_HEADERS)


class _KeptHeaders(Headers):
    """Header fields that were kept; notes the names that are asked for and are not there."""

    __slots__ = ("absent",)

    def __init__(self, kept: Headers) -> None:
        super().__init__(kept.fields)
        self.absent: set[str] = set()

    def values(self, name: str) -> tuple[str, ...]:
        found = super().values(name)
        if not found:
            self.absent.add(name.lower())
        return found

    def single(self, name: str) -> str | None:
        self.values(name)
        return super().single(name)


# ---- judging --------------------------------------------------------------------------------


class Judge:
    """Judges events and refusals by one configuration, and the addresses last known from DNS."""

    def __init__(self, settings: Settings, clock: Clock, hosts: Iterable[str] = ()) -> None:
        """Take the configuration.

        hosts: the values of Host that may have come, for signatures over it: no event keeps it.

        Raises:
            RelayError: the DNS cache cannot be read.
        """
        registry = builder.known_registry(settings, clock)
        limits = settings.limits.json_limits
        endpoints = [builder.bind_endpoint(each, registry, limits) for each in settings.endpoints]
        self._max_body = settings.limits.body
        # What was kept of deliveries before there were any routes.
        self._always_kept = {
            each.name: _COMMON | {name.lower() for name in provider_of(each).info.headers}
            for each in settings.endpoints
        }
        self._endpoints = {each.name: each for each in endpoints}
        self._paths = EndpointPaths(endpoints)
        self._hosts = tuple(dict.fromkeys(hosts))

    def event(self, event: Event) -> Judgement:
        """Judge a stored event as the delivery that it came with, at its endpoint's path."""
        endpoint = self._endpoints.get(event.endpoint)
        if endpoint is None:
            return Unjudged(f'there is no endpoint "{event.endpoint}" any more')
        if event.reconciled:
            return Unjudged("it was asked for (reconcile), and not sent")
        if event.redacted and not endpoint.token:
            return Unjudged("a token in its body has been masked")
        dropped = query_dropped(event.suffix)
        if dropped and endpoint.inspector.signs_query:
            return Unjudged("its query is signed, and not kept")
        prefix = endpoint.path
        if any(shape.path for shape in endpoint.shapes):
            prefix = prefix.rstrip("/")
        head = RequestHead(
            event.method,
            prefix + (event.suffix.removesuffix("?") if dropped else event.suffix),
            event.headers,
            event.client,
            event.received_at,
        )
        client = ClientAddress(event.client, Via.PEER)
        return self._judge(head, client, event.body)

    def refusal(self, refused: Refused) -> Judgement:
        """Judge a kept refusal as it was received."""
        return self._judge(refused.head, refused.client, refused.body, refused)

    def _judge(
        self, head: RequestHead, client: ClientAddress, body: bytes, refused: Refused | None = None
    ) -> Judgement:
        try:
            match = self._paths.find(head)
            check_method(match, head)
            if (unknown := _check_address(match.endpoint, client)) is not None:
                return unknown
            if len(body) > self._max_body:
                return NotTaken(Reason.BODY_TOO_LARGE, f"{len(body)} bytes")
            challenge = _challenge(match, head, client, body)
            return challenge or self._verify(match, head, client, body, refused)
        except Refusal as refusal:
            return NotTaken(refusal.reason, refusal.detail)

    def _verify(
        self,
        match: EndpointMatch[Endpoint],
        head: RequestHead,
        client: ClientAddress,
        body: bytes,
        refused: Refused | None,
    ) -> Judgement:
        """Verify what is kept; by its content alone where a token is not.

        Raises:
            Refusal: with the reason of the first check that failed.
        """
        endpoint = match.endpoint
        judged = True
        if refused is None and endpoint.token:
            judged = False
            endpoint = replace(endpoint, inspector=endpoint.tokenless or endpoint.inspector)
        elif refused is not None:
            try:
                endpoint = verifying_kept(endpoint, refused)
            except Refusal:
                return Unjudged("its token is not kept")
        headers = _KeptHeaders(head.headers)
        try:
            event = _verified(match, endpoint, replace(head, headers=headers), client, body)
        except Refusal as refusal:
            lacking = sorted(headers.absent - _COMMON)
            if _HOST in lacking:
                found = self._by_known_hosts(match, endpoint, head, client, body)
                if found is None:
                    return Unjudged("its Host is signed, and not kept: write public_url")
                event = found
            elif lacking and refusal.reason in _OF_ABSENCE and not _same(refused, refusal):
                return Unjudged(f"header fields that are not kept: {', '.join(lacking)}")
            else:
                raise
        if not judged:
            return Unjudged("its token is not kept")
        lacking = self._undecided(endpoint, event)
        if lacking:
            names = ", ".join(lacking)
            return Unjudged(f"its route hangs on header fields that are not kept: {names}")
        hold, by = event.verification.hold, _by(endpoint, event)
        return Taken(endpoint.name, event.upstreams, match.proxied, hold, by)

    def _undecided(self, endpoint: Endpoint, event: VerifiedDelivery) -> list[str]:
        """Return header fields that decide about its route, and may have been there then."""
        fields, kept = event.delivery.head.headers, self._always_kept[endpoint.name]
        return [
            route.when.name
            for route in looked_at(endpoint.routes, event.delivery, event.verification)
            if isinstance(route.when, HeaderCondition)
            and route.when.name.lower() not in kept
            and not fields.values(route.when.name)
        ]

    def _by_known_hosts(
        self,
        match: EndpointMatch[Endpoint],
        endpoint: Endpoint,
        head: RequestHead,
        client: ClientAddress,
        body: bytes,
    ) -> VerifiedDelivery | None:
        """Return the event if its signature fits with one of the hosts that are known."""
        for host in self._hosts:
            headers = Headers((("Host", host), *head.headers))
            try:
                return _verified(match, endpoint, replace(head, headers=headers), client, body)
            except Refusal:
                continue
        return None


def _check_address(endpoint: Endpoint, client: ClientAddress) -> Unjudged | None:
    """Check the client against an enforced list.

    Raises:
        Refusal: it is on none.
    """
    if endpoint.mode is not Mode.ENFORCE:
        return None
    found = match_address(endpoint, client)
    if not isinstance(found, Refusal):
        return None
    if found.reason is Reason.SOURCE_UNKNOWN:
        return Unjudged(f"{found.detail} in state_dir")
    raise Refusal(found.reason, f"{client.text} is in no entry")


def _challenge(
    match: EndpointMatch[Endpoint], head: RequestHead, client: ClientAddress, body: bytes
) -> Taken | None:
    """Return how it is taken if it is a challenge, which is answered and never stored."""
    endpoint = match.endpoint
    if endpoint.challenges is None:
        return None
    limits = endpoint.json_limits
    delivery = Delivery(endpoint.name, head, client, match.remainder, body, limits)
    number = endpoint.challenges.find(delivery)
    if number is None:
        return None
    by = f"challenge.{number} answers it, and it is stored nowhere"
    return Taken(endpoint.name, (), passed=False, hold=None, by=by)


def _verified(
    match: EndpointMatch[Endpoint],
    endpoint: Endpoint,
    head: RequestHead,
    client: ClientAddress,
    body: bytes,
) -> VerifiedDelivery:
    suffix = suffix_of(endpoint, head, match.remainder)
    delivery = Delivery(
        endpoint.name, head, client, match.remainder, body, endpoint.json_limits, suffix
    )
    return verify_delivery(endpoint, delivery, _NO_ID)


def _by(endpoint: Endpoint, event: VerifiedDelivery) -> str:
    """Return which route of its endpoint says where an event goes; empty where that has none."""
    if not endpoint.routes:
        return ""
    route = taken(endpoint.routes, event.delivery, event.verification)
    return "no route holds" if route is None else f"routes.{endpoint.routes.index(route)} holds"


def _same(refused: Refused | None, refusal: Refusal) -> bool:
    """Return whether it is refused now for the reason for which it was."""
    return refused is not None and refused.reason is refusal.reason
