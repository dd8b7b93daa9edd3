"""The `ErasureStore` contract: what is stored about a person, removed for good.

`tests/contracts/erasure.py` is the contract in executable form; every backend passes it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from relay.core.event import Status
from relay.spool.history import Query
from relay.spool.refusals import RefusalQuery

if TYPE_CHECKING:
    from relay.spool import Spool

#: `Record.removed` of an event that was erased.
ERASED: Final = "erased"

#: Events of which a destination has one of these still have to be delivered, or decided about.
UNDELIVERED: Final = frozenset({Status.PENDING, Status.LEASED, Status.DEAD, Status.HELD})

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Erasable:
    """What has a text as its id, its whole key or one of its whole references.

    events: ids and statuses, the newest first; none that is erased already. refusals: ids.
    beginnings: events of which an id or a reference only begins with it.
    """

    events: tuple[tuple[str, Status], ...]
    refusals: tuple[str, ...]
    beginnings: int

    @property
    def undelivered(self) -> Counter[Status]:
        """The number of those that are not delivered, by status."""
        return Counter(status for _, status in self.events if status in UNDELIVERED)


class Traces(StrEnum):
    """Where the bytes of what was erased can still be found on disk.

    LOG: in what is written first; it goes soon. FILE: in parts that nothing uses, perhaps; or
    something else that is stored holds the text.
    """

    NONE = "none"
    LOG = "log"
    FILE = "file"


class ErasureStore(Protocol):
    """Removes for good what is stored of events and refusals.

    Every method raises `SpoolUnavailable` when the store cannot do its work.
    """

    async def erase(
        self, events: Sequence[str], refusals: Sequence[str], *, undelivered: bool
    ) -> tuple[str, ...]:
        """Erase these, by their ids; return the ids of the events that are erased now.

        Of an event stay its id, times, outcomes and address, and digests of key and content: a
        copy is its duplicate, and brings nothing back. Refusals are removed. Where an act, or the
        path of a stranger, names the key or a reference of one, a mask stands instead.

        undelivered: also of events that are not delivered; they never are then. Otherwise they stay
            as they are. One that is being tried now stays in any case.
        """

    async def finish(self, text: str) -> Traces:
        """Remove what was erased from what the store keeps besides; return where traces stay.

        text: what was looked for.
        """


async def find_erasable(spool: "Spool", text: str) -> Erasable:
    """Return what a person means by this text."""
    events: list[tuple[str, Status]] = []
    beginnings = 0
    query = Query(find=text, limit=_PAGE)
    while True:
        page = await spool.page(query)
        for record in page.records:
            if record.removed == ERASED:
                continue
            whole = {record.id, record.key, *(value for _, value in record.references)}
            if text in whole:
                events.append((record.id, record.status))
            else:
                beginnings += 1
        if page.next is None:
            return Erasable(tuple(events), await _refusals(spool, text), beginnings)
        query = replace(query, after=page.next)


async def _refusals(spool: "Spool", text: str) -> tuple[str, ...]:
    """Return the ids of the kept refusals with this id or reference, of released ones too."""
    found: list[str] = []
    query = RefusalQuery(limit=_PAGE)
    while True:
        page = await spool.refusals.page(query)
        found += [
            each.refused.id
            for each in page.refusals
            if text in {each.refused.id, *(value for _, value in each.refused.references)}
        ]
        if page.next is None:
            return tuple(found)
        query = replace(query, after=page.next)
