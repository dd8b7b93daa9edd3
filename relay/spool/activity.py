"""The `ActivityStore` contract: how many deliveries each endpoint received in each hour.

`tests/contracts/activity.py` is the contract in executable form; every backend passes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

#: How long hours are kept.
KEPT: Final = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Activity:
    """How many deliveries with one verdict an endpoint received in one hour.

    hour: its first moment.
    """

    hour: datetime
    endpoint: str
    verdict: str
    deliveries: int


def hour_of(at: datetime) -> datetime:
    """Return the first moment of the hour that a time lies in, in UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class ActivityStore(Protocol):
    """Keeps what all processes on one store count.

    Every method raises `SpoolUnavailable` when the store cannot do its work.
    """

    async def add(self, counted: Sequence[Activity], last: Mapping[str, datetime]) -> None:
        """Add these numbers to those that are kept, all of them or none.

        Hours that lie more than `KEPT` before the newest of these are removed.

        last: when each endpoint has last received what was taken; a time before the one that is
            known changes nothing.
        """

    async def since(self, hour: datetime) -> tuple[Activity, ...]:
        """Return what is kept of this hour and those after it, the oldest first."""

    async def last_deliveries(self) -> Mapping[str, datetime]:
        """Return when each endpoint has last received what was taken."""
