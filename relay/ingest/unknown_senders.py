"""Deliveries of unknown addresses: whose body may prove its sender, and what becomes of it then."""

from collections.abc import Callable
from hashlib import sha256
from typing import Final, Protocol

from relay.allowlist import Mode
from relay.allowlist.registry import KnockResult
from relay.core.clock import Clock
from relay.core.errors import Reason, Refusal
from relay.core.request import ClientAddress, Delivery, RequestHead, VerifiedDelivery
from relay.ingest.admission import (
    MIN_STORE_TIME,
    Admission,
    Endpoint,
    Standing,
    check_address,
    verify_delivery,
)
from relay.ingest.authenticated_knock import PROVEN_BUT_UNKNOWN
from relay.signatures import SignedText
from relay.telemetry import Telemetry

#: Called with a delivery whose signature fits and whose address is unknown. Neither raises nor
#: blocks.
OnUnknown = Callable[[Endpoint, VerifiedDelivery], None]

#: Refusals that say that an address is not known.
UNKNOWN_ADDRESS: Final = frozenset({Reason.SOURCE_NOT_ALLOWED, Reason.SOURCE_UNKNOWN})


class OnStranger(Protocol):
    """Called with a request whose unknown address was refused. Neither raises nor blocks.

    fits: its signature or token is right.
    """

    def __call__(
        self, endpoint: str, head: RequestHead, client: ClientAddress, /, *, fits: bool
    ) -> None: ...


def may_prove_itself(admission: Admission, fault: Exception) -> bool:
    """Return whether what is refused only for its unknown address may prove itself by its body.

    Its standing says so then, and its turn has begun.
    """
    match, client = admission.match, admission.address
    if (
        not isinstance(fault, Refusal)
        or fault.reason not in UNKNOWN_ADDRESS
        or match is None
        or client is None
        or match.endpoint.mode is not Mode.ENFORCE
    ):
        return False
    knock = match.endpoint.authenticated_knock
    if knock is None or not knock.take_turn(admission.head, client.address):
        return False
    admission.turn, admission.unknown = knock, fault
    admission.standing = Standing.ONLY_IF_PROVEN
    return True


def end_turn(admission: Admission) -> None:
    """End the turn of a delivery whose body is not looked at any more. Idempotent."""
    if admission.turn is not None:
        admission.turn.in_hand -= 1
        admission.turn = None


def prove(
    admission: Admission, endpoint: Endpoint, delivery: Delivery, event_id: str
) -> VerifiedDelivery:
    """Verify a delivery from an unknown address; its turn ends, and its proof is noted.

    Raises:
        Refusal: nothing in it proves its sender.
    """
    signed: list[SignedText] = []
    try:
        event = verify_delivery(endpoint, delivery, event_id, on_signed=signed.append)
    finally:
        end_turn(admission)
    if event.verification.secret is None:
        raise Refusal(Reason.SIGNATURE_MISSING)
    # The last is the one that fitted; a token signs nothing.
    kept = event.delivery
    text = signed[-1].joined() if signed else kept.head.path.encode() + kept.body_sha256
    admission.proof = sha256(text).digest()
    return event


class UnknownSenders:
    """Looks unknown addresses up: for anybody now and then, and for those that prove themselves."""

    def __init__(
        self,
        clock: Clock,
        telemetry: Telemetry,
        on_unknown: OnUnknown = lambda *_: None,
        on_stranger: OnStranger = lambda *_, **__: None,
    ) -> None:
        """Take the parts.

        on_unknown: called with what may be released once its address is known.
        on_stranger: called with each request of an unknown address that was refused.
        """
        self._clock = clock
        self._telemetry = telemetry
        self._on_unknown = on_unknown
        self._on_stranger = on_stranger

    def refused(self, admission: Admission, refusal: Refusal) -> None:
        """Tell of a request that was refused since its address is unknown."""
        assert admission.endpoint is not None  # noqa: S101 - it has a list
        assert admission.address is not None  # noqa: S101 - it is on none
        fits = refusal.detail == PROVEN_BUT_UNKNOWN
        self._on_stranger(admission.endpoint, admission.head, admission.address, fits=fits)

    async def knock(self, admission: Admission) -> None:
        """Refresh DNS for a client that is on no list, and decide again.

        Raises:
            Refusal: its address is still unknown.
        """
        assert admission.match is not None  # noqa: S101 - else it would have been refused
        assert admission.address is not None  # noqa: S101 - likewise
        endpoint = admission.match.endpoint
        assert endpoint.knock is not None  # noqa: S101 - its standing says so
        result = await endpoint.knock.knock()
        found = endpoint.allowlist.find(admission.address) is not None
        limited = result is KnockResult.LIMITED and not found
        told = "limited" if limited else "found" if found else "not_found"
        self._telemetry.knocked(endpoint.name, told)
        check_address(admission, endpoint, admission.address)
        admission.standing = Standing.ADMITTED

    async def recognise(self, admission: Admission, event: VerifiedDelivery) -> None:
        """Admit a delivery that has proven itself if its address is known by now.

        The same signed bytes cause one look-up, are counted once and handed on once.

        Raises:
            Refusal: the address is still unknown.
        """
        match, client = admission.match, event.delivery.client
        assert match is not None  # noqa: S101 - it was admitted
        endpoint, knock = match.endpoint, match.endpoint.authenticated_knock
        assert knock is not None  # noqa: S101 - it took a turn of it
        began, is_first = self._clock.monotonic(), knock.is_first(admission.proof)
        if is_first:
            await knock.look_up()
        # No other knock: this was one.
        admission.standing, admission.unknown = Standing.KNOCK_FIRST, None
        try:
            check_address(admission, endpoint, client)
        except Refusal as refusal:
            if is_first:
                self._telemetry.unknown_but_signed(endpoint.name)
                if not match.proxied:
                    self._on_unknown(endpoint, event)
            raise Refusal(refusal.reason, PROVEN_BUT_UNKNOWN) from None
        admission.standing = Standing.ADMITTED
        if admission.store_time is not None:
            left = admission.store_time - (self._clock.monotonic() - began)
            admission.store_time = max(MIN_STORE_TIME, left)
