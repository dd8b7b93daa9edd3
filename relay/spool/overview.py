"""The `OverviewStore` contract: what waits for delivery, and what waits for a person.

`tests/contracts/overview.py` is the contract in executable form; every backend passes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

#: Of so many dead destinations, the newest, it is looked which are damaged.
DAMAGED_AMONG: Final = 10_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many there are, and since when: the time of the first; None where there is none."""

    number: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """One moment of a spool.

    backlog: pending and leased destinations, and the receipt of the oldest, by upstream; none of
        those that have none.
    dead, held: destinations, by endpoint; dead_events, held_events: of so many events;
        dead_since, held_since: when the first became so.
    damaged: which events are, among the newest `DAMAGED_AMONG` dead destinations.
    refused: kept refusals that are not released, but those of the next field.
    unknown_but_signed: those whose signature fits, and whose address alone was unknown.
    size: bytes that the store occupies. free: bytes left on its volume.
    """

    backlog: Mapping[str, Waiting] = field(default_factory=dict)
    dead: Mapping[str, int] = field(default_factory=dict)
    dead_events: int = 0
    dead_since: datetime | None = None
    held: Mapping[str, int] = field(default_factory=dict)
    held_events: int = 0
    held_since: datetime | None = None
    damaged: Waiting = Waiting()
    refused: Waiting = Waiting()
    unknown_but_signed: Waiting = Waiting()
    size: int = 0
    free: int = 0


class OverviewStore(Protocol):
    """Counts what is in a store."""

    async def read(self, refused_since: datetime, signed_since: datetime) -> Overview:
        """Return the present moment.

        refused_since, signed_since: which refusals count, by their receipt, and which of those
            that are `unknown_but_signed`.

        Raises:
            SpoolUnavailable: the store cannot be read.
        """
