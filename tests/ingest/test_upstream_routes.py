"""Routes: the first whose condition holds says where an event goes."""

from relay.core.conditions import HeaderCondition, JsonCondition
from relay.core.request import Headers
from relay.ingest.upstream_routes import UpstreamRoute, taken
from tests.harness.deliveries import verified

FIRST = UpstreamRoute(JsonCondition("/type", ("charge",)), ("billing", "ledger"))
SECOND = UpstreamRoute(HeaderCondition("X-Event", ("ping",)), ())


def test_the_first_that_holds_is_taken() -> None:
    both = verified(body=b'{"type": "charge"}', headers=Headers((("X-Event", "ping"),)))
    routes = (FIRST, SECOND)
    assert taken(routes, both.delivery, both.verification) is FIRST
    assert taken((SECOND, FIRST), both.delivery, both.verification) is SECOND


def test_none_is_taken_where_none_holds() -> None:
    other = verified(body=b'{"type": "refund"}')
    assert taken((FIRST, SECOND), other.delivery, other.verification) is None
    assert taken((), other.delivery, other.verification) is None
