"""The `RefusalStore` contract: refused deliveries, kept so that they can still be released.

`RELEASABLE` has the reasons for which a delivery is kept.

`tests/contracts/refusals.py` is the contract in executable form; every backend passes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from relay.core.errors import Reason
from relay.core.request import ClientAddress, References, RequestHead

#: Reasons that a corrected configuration may decide otherwise, from the received bytes alone.
RELEASABLE: Final = frozenset(
    {
        Reason.SIGNATURE_MISSING,
        Reason.SIGNATURE_MISMATCH,
        Reason.TIMESTAMP_INVALID,
        Reason.TIMESTAMP_OUTSIDE_WINDOW,
        Reason.FIELD_INVALID,
        Reason.FIELD_FOREIGN,
        Reason.BODY_MALFORMED,
    }
)

#: Bytes that a kept refusal counts besides its body and its header fields.
OVERHEAD: Final = 512


@dataclass(frozen=True, slots=True)
class RefusalLimits:
    """How much is kept. Past any of these limits the oldest are removed.

    size: bytes in all. per_address: how many of one client. unvouched, unvouched_size: number and
    bytes of those that nothing vouches for, which are apart: they remove no others. per_network:
    how many of them one network of 24 bits (IPv4) or 48 (IPv6) has.
    """

    number: int = 10_000
    size: int = 64 * 1024 * 1024
    per_address: int = 100
    unvouched: int = 1000
    unvouched_size: int = 8 * 1024 * 1024
    per_network: int = 20


@dataclass(frozen=True, slots=True)
class Refused:
    """One delivery that was refused after its body had been read.

    head: only the header fields that may be kept; never one that holds a token.
    signature_fits: only its address was unknown. secret: position of the secret that fitted.
    references: the ids that its body seems to name; nothing vouches for them.
    vouched: its address is listed, or its signature fits; others share `RefusalLimits.unvouched`.
        It is not part of what is stored.
    """

    id: str
    endpoint: str
    provider: str
    reason: Reason
    detail: str
    head: RequestHead
    client: ClientAddress
    body: bytes = field(repr=False)
    signature_fits: bool = False
    secret: int | None = None
    references: References = ()
    vouched: bool = field(default=True, compare=False)

    @property
    def size(self) -> int:
        """The bytes that it counts towards `RefusalLimits.size`."""
        fields = sum(len(name) + len(value) for name, value in self.head.headers)
        return OVERHEAD + len(self.head.target) + fields + len(self.body)


@dataclass(frozen=True, slots=True)
class StoredRefusal:
    """A kept refusal and its history. `refused.reason` is that of the last verification.

    times: how often the same bytes came. `refused.head.received_at` is the first time.
    tried_at: time of the last try to release it.
    released_as: the event that it became; None while it is refused.
    """

    refused: Refused
    times: int
    tried_at: datetime | None
    released_as: str | None


@dataclass(frozen=True, slots=True)
class RefusalQuery:
    """Which refusals. Empty fields do not narrow. `after`: the `next` of the page before.

    find: a reference, or an id of a refusal, whole or by its beginning; or the id of the event that
        one has become.
    released: whether it has become an event.
    """

    endpoint: str | None = None
    reason: Reason | None = None
    limit: int = 100
    after: str | None = None
    find: str | None = None
    released: bool | None = None


@dataclass(frozen=True, slots=True)
class RefusalPage:
    """Refusals, the last kept first, without their bodies. `next` is None at the end."""

    refusals: tuple[StoredRefusal, ...]
    next: str | None


class RefusalStore(Protocol):
    """Keeps refused deliveries.

    Every method raises `SpoolUnavailable` when the store cannot do its work.
    """

    async def keep(self, refused: Sequence[Refused], bounds: RefusalLimits) -> None:
        """Keep all of these or none, then remove the oldest that are past the bounds.

        The same bytes to the same endpoint are one refusal, however often they come: the first
        one stays, and its `times` grows.
        """

    async def page(self, query: RefusalQuery) -> RefusalPage:
        """Return one page.

        Raises:
            ValueError: `after` is not the `next` of a page, or the limit is not positive.
        """

    async def get(self, refusal_id: str) -> StoredRefusal | None:
        """Return one with its body, which is empty once it has been released; None if unknown."""

    async def starting_with(self, beginning: str, limit: int) -> tuple[str, ...]:
        """Return up to `limit` ids that begin like this, in their order."""

    async def mark_refused(
        self, refusal_id: str, reason: Reason, detail: str, at: datetime
    ) -> None:
        """Record the reason of another refusal. A released one is left as it is."""

    async def mark_released(self, refusal_id: str, event_id: str, at: datetime) -> None:
        """Record the event that it became, and remove its content."""

    async def prune(self, before: datetime, limit: int) -> int:
        """Remove up to `limit` that came first before this time; return how many."""


# ---- what came of releasing one -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Released:
    """The refusal was stored as this event.

    duplicate: the event was stored before. revived: it was dead or held, and is due again.
    """

    event_id: str
    duplicate: bool
    revived: bool = False


@dataclass(frozen=True, slots=True)
class StillRefused:
    """The refusal failed verification again, for this reason."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class AlreadyReleased:
    """An earlier release made this event of it."""

    event_id: str


ReleaseResult = Released | StillRefused | AlreadyReleased
