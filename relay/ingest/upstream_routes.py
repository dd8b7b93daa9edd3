"""Which upstreams an event goes to: the first route whose condition holds, or the default. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.core.conditions import Condition, Message
from relay.core.request import Delivery, Verification


@dataclass(frozen=True, slots=True)
class UpstreamRoute:
    """Events for which the condition holds go to these upstreams, or nowhere."""

    when: Condition
    upstreams: tuple[str, ...]


def taken(
    routes: Sequence[UpstreamRoute], delivery: Delivery, verification: Verification
) -> UpstreamRoute | None:
    """Return the route that an event takes; None where it goes to the default."""
    message = Message(delivery, verification.said)
    return next((route for route in routes if route.when.holds(message)), None)


def looked_at(
    routes: Sequence[UpstreamRoute], delivery: Delivery, verification: Verification
) -> Sequence[UpstreamRoute]:
    """Return the routes that decide about an event: all up to the one that it takes."""
    route = taken(routes, delivery, verification)
    return routes if route is None else routes[: routes.index(route) + 1]
