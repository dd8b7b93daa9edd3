"""The steps of a request whose head is known, by the present configuration, and their results."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from relay.allowlist import Entry, Mode
from relay.allowlist.networks import parse_network
from relay.app import builder
from relay.app.builder import known_registry
from relay.app.endpoint_parts import token_fields, token_values
from relay.app.token_file import known_tokens
from relay.config import Endpoint as EndpointSettings
from relay.config import Settings, endpoint_options, provider_of
from relay.config.lint_secrets import secret_advice
from relay.core.clock import SystemClock
from relay.core.errors import Reason, Refusal
from relay.core.redaction import Redaction
from relay.core.request import (
    Address,
    ClientAddress,
    Delivery,
    RequestHead,
    Verification,
    VerifiedDelivery,
)
from relay.core.secret import Mask
from relay.explain.destinations import Destinations, destinations
from relay.explain.likely_cause import likely_cause
from relay.explain.near_address import embedded_ipv4, is_internal
from relay.explain.near_path import near_path
from relay.explain.nearest_miss import Case, near_misses, signs_url
from relay.ingest.admission import (
    Endpoint,
    check_method,
    match_address,
    suffix_of,
    verify_delivery,
)
from relay.ingest.endpoint_paths import EndpointMatch, EndpointPaths
from relay.providers import Challenges
from relay.signatures import SignedText

# ---- results --------------------------------------------------------------------------------

OK, NO, NOTE = "ok", "no", "-"

# Nothing is stored.
_NO_ID: Final = ""

#: Warnings about secrets that the sender's own can hardly be.
_HARDLY_FITS: Final = frozenset({"odd-secret", "client-key", "sandbox-key", "shared-secret"})


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
    is_challenge: it would be answered, and is no event.
    nearest: hints at changes under which it would be accepted.
    destinations: where it would go, if it is taken and delivered.
    """

    steps: list[Step] = field(default_factory=list)
    endpoint: str | None = None
    reason: Reason | None = None
    client_known: bool = True
    health: bool = False
    is_challenge: bool = False
    nearest: list[str] = field(default_factory=list)
    destinations: Destinations | None = None


def walk_json(found: Walk) -> dict[str, object]:
    """Return a walk as the command line prints it and the admin API answers it.

    `upstreams` is null where it goes to none since it is refused, or is a test; `route` is the
    position of the route that it takes.
    """
    goes = found.destinations
    return {
        "verdict": "accept" if found.reason is None else "refuse",
        "reason": None if found.reason is None else found.reason.value,
        "endpoint": found.endpoint,
        "address_judged": found.client_known,
        "steps": [
            {"step": step.name, "result": step.result, "detail": step.detail}
            for step in found.steps
        ],
        "nearest": found.nearest,
        "upstreams": None if goes is None else list(goes.upstreams),
        "route": None if goes is None else goes.route,
    }


# ---- the steps ------------------------------------------------------------------------------


class Walker:
    """Walks one request, of which the head is known, step by step.

    A step that refuses is recorded, and those behind it are run all the same.
    """

    def __init__(self, settings: Settings, head: RequestHead) -> None:
        """Take the request.

        Raises:
            RelayError: the DNS cache cannot be read.
        """
        self._settings = settings
        self._head = head
        self._walk = Walk()
        registry = known_registry(settings, SystemClock())
        tokens = known_tokens(settings, SystemClock())
        self._endpoints = [
            builder.bind_endpoint(each, registry, settings.limits.json_limits, tokens=tokens)
            for each in settings.endpoints
        ]
        self._mask = Mask(settings.every_secret(), head.headers)

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

    # ---- by the head ------------------------------------------------------------------------

    def _match(self) -> EndpointMatch[Endpoint] | None:
        try:
            match = EndpointPaths(self._endpoints).find(self._head)
        except Refusal as refusal:
            self._refuse("endpoint", refusal)
            if (hint := near_path(self._endpoints, self._head)) is not None:
                self._suggest(hint)
            return None
        below = f", and {match.remainder} below it" if match.remainder else ""
        detail = f"{match.endpoint.name}, by its path {match.endpoint.path}{below}"
        self._add_step("endpoint", OK, detail + (", passed on" if match.proxied else ""))
        self._walk.endpoint = match.endpoint.name
        names = token_fields(self._configured(match.endpoint))
        self._mask = Mask(self._settings.every_secret(), self._head.headers, names)
        return match

    def _configured(self, endpoint: Endpoint) -> EndpointSettings:
        return next(each for each in self._settings.endpoints if each.name == endpoint.name)

    def _method(self, match: EndpointMatch[Endpoint]) -> None:
        try:
            check_method(match, self._head)
        except Refusal as refusal:
            detail = f"{self._head.method}; there are: {', '.join(match.methods)}"
            self._refuse("method", Refusal(refusal.reason, detail))
        else:
            self._add_step("method", OK, self._head.method)

    def _allowlist(self, endpoint: Endpoint, client: ClientAddress) -> None:
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
        self._suggest_for_address(endpoint, client.address)

    def _suggest_for_address(self, endpoint: Endpoint, address: Address) -> None:
        known = len(self._walk.nearest)
        self._suggest_known_address(endpoint, address)
        if len(self._walk.nearest) > known:
            return
        if is_internal(address):
            hint = f"{address} is internal: if it is a proxy of yours, add it to trusted_proxies"
        else:
            hint = (
                f"{address} is on no list here: if the sender has moved there, add it to"
                " allowlist.add; if it is a proxy of yours, to trusted_proxies"
            )
        self._suggest(hint)

    def _suggest_known_address(self, endpoint: Endpoint, address: Address) -> None:
        embedded = embedded_ipv4(address)
        if embedded is not None and endpoint.allowlist.match(embedded[0]) is not None:
            self._suggest(
                f"{address} is {embedded[0]}, spelled as {embedded[1]}, and that may send: let what"
                " stands in front take the connection, or forward it, as IPv4"
            )
        for other in self._endpoints:
            if other is not endpoint and other.allowlist.match(address) is not None:
                self._suggest(f"{address} may send to the endpoint {other.name}")
        info = provider_of(self._configured(endpoint)).info
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

    # ---- by the body ------------------------------------------------------------------------

    def _signature(
        self, match: EndpointMatch[Endpoint], client: ClientAddress, body: bytes
    ) -> None:
        """Verify the request with this body, by the endpoint's provider."""
        endpoint, head = match.endpoint, self._head
        configured = self._configured(endpoint)
        suffix = suffix_of(endpoint, head, match.remainder)
        limits = endpoint.json_limits
        delivery = Delivery(endpoint.name, head, client, match.remainder, body, limits, suffix)
        redaction = Redaction(configured.redact)
        secrets = [
            *self._settings.every_secret(),
            *redaction.of(body).secrets,
            *token_values(configured, delivery),
        ]
        self._mask = Mask(secrets, head.headers, token_fields(configured))
        if endpoint.challenges is not None and self._challenge(endpoint.challenges, delivery):
            return
        tried: list[SignedText] = []
        try:
            found: VerifiedDelivery | Refusal = verify_delivery(
                endpoint, delivery, _NO_ID, on_signed=tried.append
            )
        except Refusal as refusal:
            found = refusal
        for text in tried:
            parts = [None if each is None else redaction.part(each, body) for each in text.parts]
            self._add_step("signed", NOTE, self._mask.signed(parts))
        for signature in dict.fromkeys(text.signature for text in tried):
            self._add_step("received", NOTE, signature)
        if endpoint.token:
            self._add_step("received", NOTE, "a token, which is shown nowhere")
        if isinstance(found, Refusal):
            if tried and found.reason is Reason.SIGNATURE_MISMATCH:
                # If shown, the expected signature would sign this very content.
                number = len(configured.secrets)
                tried_keys = f"{number} secret{'' if number == 1 else 's'}"
                self._add_step("expected", NOTE, f"something else; {tried_keys} tried, none shown")
            self._refuse("content", found)
            self._suggest_for_content(configured, delivery, found, tried)
            return
        verified = found.verification
        by = self._describe_proof(verified)
        covered = ", ".join(verified.signed) or "nothing"
        self._add_step("signature", OK, f"{by}; covers {covered}")
        more = "; could have been split otherwise" if verified.ambiguous else ""
        test = "; a test message, kept and not delivered" if verified.test else ""
        held = ""
        if verified.hold is not None:
            until = "the provider agrees" if configured.confirm else "a person requeues it"
            held = f"; held until {until}: {verified.hold}"
        self._add_step("event key", OK, f"{verified.key}{more}{test}{held}")
        if not verified.test:
            self._goes(endpoint, found, redaction)

    def _challenge(self, challenges: Challenges, delivery: Delivery) -> bool:
        """Say what becomes of a challenge; return whether it is one, or no event either."""
        number = challenges.find(delivery)
        name = "challenge" if number is None else f"challenge.{number}"
        try:
            answered = challenges.answer(delivery)
        except Refusal as refusal:
            self._refuse(name, refusal)
            return True
        if answered is None:
            return False
        fits = answered.key if answered.secret is None else f"secrets.{answered.secret}"
        by = "unsigned" if fits is None else f"fits {fits}"
        size = len(answered.ack.body)
        detail = f"{by}; answered at once with {size} bytes, stored and delivered nowhere"
        self._add_step(name, OK, detail)
        self._walk.is_challenge = True
        return True

    def _goes(self, endpoint: Endpoint, event: VerifiedDelivery, redaction: Redaction) -> None:
        """Record where it goes, and which route says so."""
        found = destinations(endpoint.routes, event, redaction)
        for detail, is_taken in found.steps:
            self._add_step("route", OK if is_taken else NOTE, detail)
        if self._walk.reason is None:
            self._walk.destinations = found

    def _describe_proof(self, found: Verification) -> str:
        """Say what proves the sender."""
        return "unsigned" if found.secret is None else f"fits secrets.{found.secret}"

    def _suggest_for_content(
        self,
        configured: EndpointSettings,
        delivery: Delivery,
        refusal: Refusal,
        tried: Sequence[SignedText],
    ) -> None:
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
        known = len(self._walk.nearest)
        for hint in near_misses(case):
            self._suggest(hint)
        self._suggest_for_secrets(configured)
        if len(self._walk.nearest) == known:
            by_url = configured.public_url is None and signs_url(case)
            cause = likely_cause(refusal, delivery, tried, by_url=by_url)
            if cause is not None:
                self._suggest(cause)

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
