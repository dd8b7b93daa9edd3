"""An event is as urgent as the destination that most needs a person."""

import pytest

from relay.core.event import Status
from relay.spool.history import Destination, most_urgent


@pytest.mark.parametrize(
    ("statuses", "place"),
    [
        ([Status.DELIVERED, Status.PENDING], 1),
        ([Status.PENDING, Status.LEASED, Status.DELIVERED], 1),
        ([Status.HELD, Status.LEASED, Status.DEAD], 2),
        ([Status.TEST], 0),
        ([Status.DEAD, Status.DEAD], 0),
    ],
)
def test_the_most_urgent_destination_is_found(statuses: list[Status], place: int) -> None:
    destinations = [
        Destination(str(number), status, number) for number, status in enumerate(statuses)
    ]
    assert most_urgent(destinations) is destinations[place]


def test_nothing_is_urgent_without_destinations() -> None:
    assert most_urgent([]) is None
