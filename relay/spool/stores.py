"""`Stores`: what lies in the same store beside the events, each by a contract of its own."""

from typing import Protocol

from relay.spool.activity import ActivityStore
from relay.spool.audit import AuditStore
from relay.spool.erasure import ErasureStore
from relay.spool.history import ReferenceIndex
from relay.spool.overview import OverviewStore
from relay.spool.pauses import PauseStore
from relay.spool.refusals import RefusalStore
from relay.spool.sealing import SealingStore
from relay.spool.strangers import StrangerStore


class Stores(Protocol):
    """The other stores of a `relay.spool.Spool`; usable until that is closed."""

    @property
    def refusals(self) -> RefusalStore:
        """The refusals in the same store; usable until `close`."""

    @property
    def sealing(self) -> SealingStore:
        """The keys that what is stored is sealed with; usable until `close`."""

    @property
    def audit(self) -> AuditStore:
        """The acts of people in the same store; usable until `close`."""

    @property
    def erasure(self) -> ErasureStore:
        """Removes what is stored of a person; usable until `close`."""

    @property
    def references(self) -> ReferenceIndex:
        """The index of what events are found by; usable until `close`."""

    @property
    def activity(self) -> ActivityStore:
        """The deliveries by hour in the same store; usable until `close`."""

    @property
    def overview(self) -> OverviewStore:
        """What waits in the same store; usable until `close`."""

    @property
    def strangers(self) -> StrangerStore:
        """The addresses that are on no list and were refused; usable until `close`."""

    @property
    def pauses(self) -> PauseStore:
        """The upstreams that are paused; usable until `close`."""
