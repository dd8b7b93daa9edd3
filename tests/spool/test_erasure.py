from relay.core.event import Status
from relay.spool.erasure import Erasable


def test_what_is_not_delivered_is_counted_by_status() -> None:
    statuses = [*Status, Status.DEAD]
    found = Erasable(tuple((f"evt_{at}", each) for at, each in enumerate(statuses)), (), 0)
    assert found.undelivered == {
        Status.PENDING: 1,
        Status.LEASED: 1,
        Status.DEAD: 2,
        Status.HELD: 1,
    }
