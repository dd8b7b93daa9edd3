"""Run a captured request through every step of the relay, and record the result of each."""

import asyncio
import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address

from relay.allowlist import Entry, Mode
from relay.allowlist.networks import parse_network
from relay.app import builder
from relay.app.builder import known_registry
from relay.config import Endpoint as EndpointSettings
from relay.config import Settings, endpoint_options, provider_of
from relay.config.inline_provider import InlineProvider
from relay.config.lint_secrets import secret_advice
from relay.core.clock import SystemClock
from relay.core.errors import Reason, Refusal
from relay.core.request import (
    Address,
    ClientAddress,
    Delivery,
    ForwardedHeader,
    Headers,
    RequestHead,
    Verification,
    Via,
)
from relay.core.secret import Mask
from relay.edge.connections import PeerInfo
from relay.edge.fast_lane import is_health_check
from relay.explain.capture import (
    UNKNOWN_PEER,
    Captured,
    ParsedRequest,
    describe_peer,
    faulty_line,
    peer_info_of,
    read_request,
)
from relay.explain.nearest_miss import Case, near_misses
from relay.ingest.admission import (
    Endpoint,
    check_method,
    match_address,
    suffix_of,
    verify_delivery,
)
from relay.ingest.client_address import ClientLocator, unmap_ipv4
from relay.ingest.routing import Route, Routes
from relay.providers.inline import HeaderField
from relay.signatures import SignedText

# ---- steps ----------------------------------------------------------------------------------

OK, NO, NOTE = "ok", "no", "-"

# Nothing is stored.
_NO_ID = ""

#: Warnings about secrets that the sender's own can hardly be.
_HARDLY_FITS = frozenset({"odd-secret", "client-key", "sandbox-key", "shared-secret"})

_REMOVE_PROXY_HEADER = (
    "it begins with a PROXY header, and no listener has proxy_protocol: true; take the header off,"
    " and give the address that it names with --peer"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step and its result: `ok`, `no`, or `-` where nothing is decided."""

    name: str
    result: str
    detail: str


@dataclass(slots=True)
class Walk:
    """All steps, and the first reason to refuse; None when the request would be accepted.

    client_known: whether the client's address was known, so that the allowlist could be checked.
    health: it is no delivery but a health check, which is answered to every client.
    nearest: hints at changes under which it would be accepted.
    """

    steps: list[Step] = field(default_factory=list)
    endpoint: str | None = None
    reason: Reason | None = None
    client_known: bool = True
    health: bool = False
    nearest: list[str] = field(default_factory=list)


def walk_unreadable(settings: Settings, captured: Captured, refusal: Refusal) -> Walk:
    """Return the walk of a request whose head or PROXY header is refused."""
    mask = Mask(settings.every_secret(), Headers())
    found = Walk([Step("capture", NOTE, mask.text(note)) for note in captured.notes])
    found.reason = refusal.reason
    name, where, detail = "head", "", f": {refusal.detail}" if refusal.detail else ""
    if captured.proxy_prefix is None:
        line = faulty_line(captured.raw)
    elif refusal.reason is Reason.PROXY_HEADER_INVALID:
        name, line = "proxy", None
    elif not any(each.proxy_protocol for each in settings.listen):
        line = 1
        found.nearest.append(_REMOVE_PROXY_HEADER)
    else:
        found.steps.append(Step("proxy", OK, describe_peer(captured.proxy_prefix)))
        line = faulty_line(captured.raw)
        line = None if line is None else line + captured.proxy_prefix.lines
    where = "" if line is None else f", line {line}"
    found.steps.append(Step(name, NO, f"{refusal.reason.value}{detail}{where}"))
    return found


# ---- the walk -------------------------------------------------------------------------------


def walk(settings: Settings, captured: Captured, peer: Address | None, at: datetime) -> Walk:
    """Return the steps of this request, received `at` this time from this peer.

    Steps behind the one that refuses are run too. DNS is not queried; the cache is used.

    Raises:
        RelayError: the DNS cache cannot be read.
    """
    prefix, raw = captured.proxy_prefix, captured.raw
    if prefix is not None and not any(each.proxy_protocol for each in settings.listen):
        # Without proxy_protocol, all bytes would be read as a request.
        raw = prefix.raw + raw
        prefix = None
    try:
        peer_info = peer_info_of(prefix, peer, builder.client_locator(settings).trusts)
        parsed = asyncio.run(read_request(raw, max_body=settings.limits.body))
    except Refusal as refusal:
        return walk_unreadable(settings, captured, refusal)
    return _Walker(settings, captured, parsed, peer_info, at).walk()


class _Walker:
    def __init__(
        self,
        settings: Settings,
        captured: Captured,
        parsed: ParsedRequest,
        peer_info: PeerInfo,
        at: datetime,
    ) -> None:
        self._settings = settings
        self._captured = captured
        self._parsed = parsed
        self._peer_known = peer_info.address != UNKNOWN_PEER or not peer_info.forwards
        self._walk = Walk()
        registry = known_registry(settings, SystemClock())
        self._endpoints = [
            builder.bind_endpoint(each, registry, settings.limits.json_limits)
            for each in settings.endpoints
        ]
        self._clients = builder.client_locator(settings)
        self._head = RequestHead(
            method=parsed.method,
            target=parsed.target,
            headers=parsed.headers,
            peer=peer_info.address,
            received_at=at,
            via=peer_info.via,
            forwards=peer_info.forwards,
        )
        self._mask = Mask(settings.every_secret(), parsed.headers)

    def walk(self) -> Walk:
        self._request()
        if is_health_check(self._head.method, self._head.target):
            self._walk.health = True
            self._add_step("endpoint", OK, "the health check, answered 200 whoever asks")
            return self._walk
        route = self._route()
        if route is None:
            return self._walk
        endpoint = route.endpoint
        configured = next(e for e in self._settings.endpoints if e.name == endpoint.name)
        self._walk.endpoint = endpoint.name
        self._mask = Mask(
            self._settings.every_secret(), self._head.headers, _token_field(configured)
        )
        self._method(route)
        client = self._client()
        if client is not None:
            self._allowlist(endpoint, configured, client)
        body = self._body()
        if body is None:
            return self._walk
        placeholder = ClientAddress(self._head.peer, Via.PEER)
        delivery = Delivery(
            endpoint.name,
            self._head,
            client or placeholder,
            route.remainder,
            body,
            endpoint.json_limits,
            suffix_of(endpoint, self._head, route.remainder),
        )
        self._signature(endpoint, configured, delivery)
        return self._walk

    # ---- recording --------------------------------------------------------------------------

    def _add_step(self, name: str, result: str, detail: str) -> None:
        self._walk.steps.append(Step(name, result, self._mask.text(detail)))

    def _refuse(self, name: str, refusal: Refusal) -> None:
        if self._walk.reason is None:
            self._walk.reason = refusal.reason
        detail = f"{refusal.reason.value}: {refusal.detail}" if refusal.detail else refusal.reason
        self._add_step(name, NO, detail)

    def _suggest(self, hint: str) -> None:
        self._walk.nearest.append(self._mask.text(hint))

    # ---- steps ------------------------------------------------------------------------------

    def _request(self) -> None:
        for note in self._captured.notes:
            self._add_step("capture", NOTE, note)
        if self._captured.proxy_prefix is not None:
            self._add_step("proxy", OK, describe_peer(self._captured.proxy_prefix))
        head = self._head
        mark = "?…" if head.query else ""
        size = len(self._captured.rest if self._parsed.body is None else self._parsed.body)
        self._add_step("request", NOTE, f"{head.method} {head.path}{mark}, {size} bytes of body")

    def _route(self) -> Route[Endpoint] | None:
        try:
            route = Routes(self._endpoints).find(self._head)
        except Refusal as refusal:
            self._refuse("endpoint", refusal)
            paths = [endpoint.path for endpoint in self._endpoints]
            for path in difflib.get_close_matches(self._head.path, paths, n=1):
                self._suggest(f"an endpoint has the path {path}; paths are compared as they are")
            return None
        below = f", and {route.remainder} below it" if route.remainder else ""
        detail = f"{route.endpoint.name}, by its path {route.endpoint.path}{below}"
        self._add_step("endpoint", OK, detail + (", passed on" if route.proxied else ""))
        return route

    def _method(self, route: Route[Endpoint]) -> None:
        try:
            check_method(route, self._head)
        except Refusal as refusal:
            detail = f"{self._head.method}; there are: {', '.join(route.methods)}"
            self._refuse("method", Refusal(refusal.reason, detail))
        else:
            self._add_step("method", OK, self._head.method)

    def _client(self) -> ClientAddress | None:
        if not self._peer_known:
            self._walk.client_known = False
            self._add_step("client", NOTE, "not judged: --peer ADDRESS says who connected")
            return None
        if self._head.forwards:
            self._forwarding()
        try:
            client = self._clients.locate(self._head)
        except Refusal as refusal:
            self._refuse("client", refusal)
            self._suggest_for_proxy()
            return None
        self._add_step("client", OK, f"{client.address}, by {client.via.value}")
        return client

    def _suggest_for_proxy(self) -> None:
        """Suggest what makes a silent proxy name its client."""
        head, header = self._head, self._settings.forwarded_header
        if not head.forwards or head.headers.values(header):
            return
        others = [each.value for each in ForwardedHeader if each is not header]
        sent = next((each for each in others if head.headers.values(each)), None)
        if sent is None:
            self._suggest(
                f"let {head.peer} add {header} if it is a proxy; if it sends by itself, take it out"
                " of trusted_proxies"
            )
        else:
            self._suggest(f"{head.peer} sends {sent}: write forwarded_header: {sent}")

    def _forwarding(self) -> None:
        """Record the peer, and the addresses that it forwards."""
        peer, header = self._head.peer, self._settings.forwarded_header
        trusted = self._clients.trusts(peer)
        by = ", by the PROXY header" if self._head.via is Via.PROXY else ""
        self._add_step("peer", NOTE, f"{peer}{by}, {'a' if trusted else 'no'} trusted proxy")
        if trusted and (value := ",".join(self._head.headers.values(header))):
            self._hops(self._clients, value)

    def _hops(self, clients: ClientLocator, value: str) -> None:
        """Record the forwarded addresses, from the nearest hop to the client."""
        for number, element in enumerate(reversed(value.split(",")), 1):
            text = element.strip()
            try:
                address = unmap_ipv4(ip_address(text))
            except ValueError:
                self._add_step(f"hop {number}", NOTE, text)
                continue
            if not clients.trusts(address):
                self._add_step(f"hop {number}", NOTE, f"{address}, no trusted proxy: the client")
                return
            self._add_step(f"hop {number}", NOTE, f"{address}, a trusted proxy")

    def _allowlist(
        self, endpoint: Endpoint, configured: EndpointSettings, client: ClientAddress
    ) -> None:
        found = match_address(endpoint, client)
        mode = endpoint.mode
        if not isinstance(found, Refusal):
            self._add_step("allowlist", OK, f"{_describe_entry(found)}; mode {mode.value}")
            return
        waiting = endpoint.allowlist.unready()
        detail = f"{client.address} is in no entry; mode {mode.value}"
        if waiting:
            detail += f"; no addresses yet of {', '.join(waiting)}"
        if mode is Mode.ENFORCE:
            self._refuse("allowlist", Refusal(found.reason, detail))
        else:
            self._add_step("allowlist", NOTE, f"would be {found.reason.value}: {detail}")
        self._suggest_for_address(endpoint, configured, client.address)

    def _suggest_for_address(
        self, endpoint: Endpoint, configured: EndpointSettings, address: Address
    ) -> None:
        for other in self._endpoints:
            if other is not endpoint and other.allowlist.match(address) is not None:
                self._suggest(f"{address} may send to the endpoint {other.name}")
        info = provider_of(configured).info
        for name, environment in info.environments.items():
            networks = [
                parse_network(t) for listed in environment.listings for t in listed.networks
            ]
            if any(str(address) in network for network in networks):
                self._suggest(f"{address} is listed for {info.name}, {name}")
        header = self._settings.forwarded_header
        if address == self._head.peer and self._head.headers.values(header):
            self._suggest(
                f"{address} sends {header}: if it is your proxy, add it to trusted_proxies"
            )

    def _body(self) -> bytes | None:
        """Return the body, also a refused one; None for a refused chunked body."""
        body, problem = self._parsed.body, self._parsed.problem
        if problem is None:
            assert body is not None  # noqa: S101 - one of both
            self._add_step("body", OK, f"sha256 {hashlib.sha256(body).hexdigest()}")
            return body
        if problem.reason is Reason.BODY_TOO_LARGE:
            limit = f"limits.body is {self._settings.limits.body}"
            detail = f"{problem.detail}; {limit}" if problem.detail else limit
            problem = Refusal(problem.reason, detail)
        self._refuse("body", problem)
        chunked = self._head.headers.values("Transfer-Encoding")
        return None if chunked else self._captured.rest

    def _signature(
        self, endpoint: Endpoint, configured: EndpointSettings, delivery: Delivery
    ) -> None:
        tried: list[SignedText] = []
        try:
            found: Verification | Refusal = verify_delivery(
                endpoint, delivery, _NO_ID, on_signed=tried.append
            ).verification
        except Refusal as refusal:
            found = refusal
        for text in tried:
            self._add_step("signed", NOTE, self._mask.signed(text.parts))
        for signature in dict.fromkeys(text.signature for text in tried):
            self._add_step("received", NOTE, signature)
        if endpoint.token:
            self._add_step("received", NOTE, "a token, which is shown nowhere")
        if isinstance(found, Refusal):
            if tried and found.reason is Reason.SIGNATURE_MISMATCH:
                # If shown, the expected signature would sign this very content.
                number = len(configured.secrets)
                self._add_step(
                    "expected", NOTE, f"something else; {number} secrets tried, none shown"
                )
            self._refuse("content", found)
            self._suggest_for_content(configured, delivery)
            return
        by = "unsigned" if found.secret is None else f"fits secrets.{found.secret}"
        covered = ", ".join(found.signed) or "nothing"
        self._add_step("signature", OK, f"{by}; covers {covered}")
        more = "; could have been split otherwise" if found.ambiguous else ""
        test = "; a test message, kept and not delivered" if found.test else ""
        held = ""
        if found.hold is not None:
            until = "the provider agrees" if configured.confirm else "a person requeues it"
            held = f"; held until {until}: {found.hold}"
        self._add_step("event key", OK, f"{found.key}{more}{test}{held}")

    def _suggest_for_content(self, configured: EndpointSettings, delivery: Delivery) -> None:
        provider = provider_of(configured)
        others = [e for e in self._settings.endpoints if e is not configured]
        alike = [e for e in others if provider_of(e).info.name == provider.info.name]
        case = Case(
            provider=provider,
            options=endpoint_options(configured, provider.info),
            delivery=delivery,
            other_secrets={
                f"the endpoint {e.name} ({e.environment})": e.secrets for e in alike if e.secrets
            },
            other_urls=[e.public_url for e in alike if e.public_url is not None],
        )
        for hint in near_misses(case):
            self._suggest(hint)
        self._suggest_for_secrets(configured)

    def _suggest_for_secrets(self, configured: EndpointSettings) -> None:
        """Name each secret of this endpoint that can hardly fit anything, and say why."""
        own = ("endpoints", self._settings.endpoints.index(configured))
        info = {each.name: provider_of(each).info for each in self._settings.endpoints}
        for advice in secret_advice(self._settings, info):
            if advice.code in _HARDLY_FITS and advice.location[:2] == own:
                self._suggest(f"{'.'.join(map(str, advice.location[2:]))} {advice.message}")


def _describe_entry(entry: Entry) -> str:
    host = f", of {entry.host}" if entry.host else ""
    seen = f", last seen {entry.last_seen:%Y-%m-%d %H:%M:%S}Z" if entry.last_seen else ""
    return f"{entry.network}{host}, from {entry.origin}{seen}"


def _token_field(endpoint: EndpointSettings) -> Sequence[str]:
    """Return the header field that holds a token by the endpoint's description."""
    if not isinstance(endpoint.provider, InlineProvider):
        return ()
    rule = endpoint.provider.description().signature
    if rule.scheme != "token" or not isinstance(rule.source, HeaderField):
        return ()
    return (rule.source.name,)
