"""Run a captured request through every step of the relay, and record the result of each."""

import asyncio
import hashlib
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from relay.allowlist.networks import parse_network
from relay.app import builder
from relay.config import Settings
from relay.core.errors import Reason, Refusal
from relay.core.request import (
    Address,
    ClientAddress,
    ForwardedHeader,
    Headers,
    RequestHead,
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
from relay.explain.steps import NO, NOTE, OK, Step, Walk, Walker
from relay.ingest.admission import Endpoint
from relay.ingest.client_address import ClientLocator, unmap_ipv4

# ---- what cannot be read --------------------------------------------------------------------

_REMOVE_PROXY_HEADER: Final = (
    "it begins with a PROXY header, and no listener has proxy_protocol: true; take the header off,"
    " and give the address that it names with --peer"
)


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
    return _CaptureWalker(settings, captured, parsed, peer_info, at).walk()


class _CaptureWalker(Walker):
    def __init__(
        self,
        settings: Settings,
        captured: Captured,
        parsed: ParsedRequest,
        peer_info: PeerInfo,
        at: datetime,
    ) -> None:
        head = RequestHead(
            method=parsed.method,
            target=parsed.target,
            headers=parsed.headers,
            peer=peer_info.address,
            received_at=at,
            via=peer_info.via,
            forwards=peer_info.forwards,
        )
        super().__init__(settings, head)
        self._captured = captured
        self._parsed = parsed
        self._peer_known = peer_info.address != UNKNOWN_PEER or not peer_info.forwards
        self._clients = builder.client_locator(settings)

    def walk(self) -> Walk:
        self._request()
        if is_health_check(self._head.method, self._head.target):
            self._walk.health = True
            self._add_step("endpoint", OK, "the health check, answered 200 whoever asks")
            return self._walk
        match = self._match()
        if match is None:
            return self._walk
        self._method(match)
        client = self._client()
        if client is not None:
            self._allowlist(match.endpoint, client)
        body = self._body(match.endpoint)
        if body is not None:
            placeholder = ClientAddress(self._head.peer, Via.PEER)
            self._signature(match, client or placeholder, body)
        return self._walk

    def _request(self) -> None:
        for note in self._captured.notes:
            self._add_step("capture", NOTE, note)
        if self._captured.proxy_prefix is not None:
            self._add_step("proxy", OK, describe_peer(self._captured.proxy_prefix))
        head = self._head
        mark = "?…" if head.query else ""
        size = len(self._captured.rest if self._parsed.body is None else self._parsed.body)
        self._add_step("request", NOTE, f"{head.method} {head.path}{mark}, {size} bytes of body")

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

    def _suggest_known_address(self, endpoint: Endpoint, address: Address) -> None:
        super()._suggest_known_address(endpoint, address)
        if address == self._head.peer:
            return
        # As if it were a trusted proxy: who stands behind it?
        settings = self._settings
        header = ForwardedHeader(settings.forwarded_header)
        trusted = (*settings.trusted_proxies, parse_network(str(address)))
        try:
            behind = ClientLocator(trusted, header).locate(self._head)
        except Refusal:
            return
        if behind.address != address and endpoint.allowlist.match(behind.address) is not None:
            self._suggest(
                f"{address} forwards for {behind.address}, which may send: if it is your proxy, add"
                " it to trusted_proxies"
            )

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

    def _body(self, endpoint: Endpoint) -> bytes | None:
        """Return the body, also a refused one; None for a refused chunked body."""
        body, problem, packed = self._parsed.body, self._parsed.problem, ""
        if endpoint.gzip and self._parsed.unpacked is not None:
            found, packed = self._parsed.unpacked, "unpacked from gzip; "
            body, problem = (None, found) if isinstance(found, Refusal) else (found, None)
        if problem is None:
            assert body is not None  # noqa: S101 - one of both
            digest = f"sha256 {hashlib.sha256(body).hexdigest()}"
            if endpoint.token_in_body:
                digest = "a token stands in it, so that no digest is shown"
            self._add_step("body", OK, f"{packed}{digest}")
            return body
        if problem.reason is Reason.BODY_TOO_LARGE:
            limit = f"limits.body is {self._settings.limits.body}"
            detail = f"{problem.detail}; {limit}" if problem.detail else limit
            problem = Refusal(problem.reason, detail)
        self._refuse("body", problem)
        if packed:
            return None
        chunked = self._head.headers.values("Transfer-Encoding")
        return None if chunked else self._captured.rest
