"""Which upstreams an accepted message goes to, by which route, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from relay.core.conditions import Message, Seen
from relay.core.json_pointer import masked
from relay.core.redaction import Redaction
from relay.core.request import VerifiedDelivery
from relay.core.visible_text import visible
from relay.ingest.upstream_routes import UpstreamRoute

#: Longer values of a message are cut.
_MAX_SHOWN: Final = 80

_NOWHERE: Final = "it goes nowhere: it is stored, and delivered to no upstream"


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where a message goes.

    steps: what is said of each route that was looked at, and whether it is the one. route: its
    position; None where no route holds.
    """

    upstreams: tuple[str, ...]
    route: int | None
    steps: tuple[tuple[str, bool], ...]


def destinations(
    routes: Sequence[UpstreamRoute], event: VerifiedDelivery, redaction: Redaction
) -> Destinations:
    """Return where an event goes by these routes, of which the first that holds was taken.

    Values that `redaction` masks, and tokens in the body, are shown as masks.
    """
    message = Message(event.delivery, event.verification.said)
    shown = _shown(event, redaction)
    steps: list[tuple[str, bool]] = []
    for number, route in enumerate(routes):
        found = _says(route, shown)
        if route.when.holds(message):
            steps.append((f"routes.{number} holds: {found}; {_goes(event.upstreams)}", True))
            return Destinations(event.upstreams, number, tuple(steps))
        steps.append((f"routes.{number} does not hold: {found}", False))
    none = "no route holds: " if routes else ""
    steps.append((f"{none}{_goes(event.upstreams)}", True))
    return Destinations(event.upstreams, None, tuple(steps))


def _shown(event: VerifiedDelivery, redaction: Redaction) -> Message:
    """Return the message as it is shown to people."""
    tokens = event.verification.tokens
    if not redaction and not tokens:
        return Message(event.delivery, event.verification.said)
    body = masked(redaction.of(event.delivery.body).body, tokens)
    return Message(replace(event.delivery, body=body), b"")


def _says(route: UpstreamRoute, shown: Message) -> str:
    seen = route.when.seen(shown)
    return f"{route.when} {_value(seen)}"


def _value(seen: Seen) -> str:
    if seen.text is None:
        return seen.absent
    text = visible(seen.text[: _MAX_SHOWN + 1])
    if len(seen.text) > _MAX_SHOWN:
        return f'is "{text[:_MAX_SHOWN]}…" ({len(seen.text)} characters)'
    return f'is "{text}"'


def _goes(upstreams: Sequence[str]) -> str:
    return f"goes to {', '.join(upstreams)}" if upstreams else _NOWHERE
