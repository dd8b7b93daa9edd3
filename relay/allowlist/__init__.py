"""The address source contract, and the allowlist: the union of several sources.

A source never fails in the request path. Reading it is instant and raises nothing; only `run` and
`refresh` do I/O, and a failed refresh keeps the last good answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Final, Protocol

from netaddr import IPNetwork

from relay.allowlist.networks import Intervals, parse_network
from relay.core.clock import Clock
from relay.core.request import Address, ClientAddress

# ---- DNS answers ----------------------------------------------------------------------------


class LookupResult(StrEnum):
    """The result of one DNS look-up of one host."""

    OK = "ok"
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    TIMEOUT = "timeout"
    EMPTY = "empty"
    REFUSED_ANSWER = "refused_answer"


class Change(StrEnum):
    """A change to the addresses of a host."""

    ADDED = "added"
    REMOVED = "removed"


class Family(StrEnum):
    """The record types of a look-up. Each is queried, and fails, by itself."""

    A = "A"
    AAAA = "AAAA"


@dataclass(frozen=True, slots=True)
class Answer:
    """The unvalidated answer to one query.

    result: OK for addresses of any kind; REFUSED_ANSWER when the answer was not parsed.
    ttl: the lowest of the chain, in seconds.
    problem: why it was not parsed, as text for an operator.
    """

    result: LookupResult
    addresses: tuple[Address, ...] = ()
    ttl: int = 0
    problem: str = ""


# ---- contract -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One network that may send, with its origin.

    origin: the list that holds it, such as `seed 2022-03-15`, `configuration` or `dns`.
    host: the DNS name it was resolved from; None for a listed network.
    last_seen: when a DNS answer last held it; None for a listed network.
    first_seen: when one first did, where that is known.
    text: the network as text: each delivery of it is logged with it.
    """

    network: IPNetwork
    origin: str
    host: str | None = None
    last_seen: datetime | None = None
    first_seen: datetime | None = None
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", str(self.network))


@dataclass(frozen=True, slots=True)
class AddressChange:
    """One address that has come to a host, or gone from it."""

    at: datetime
    host: str
    change: Change
    address: Address


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The state of one source, for metrics, readiness and `relay allowlist show`.

    refreshed_at: the last successful refresh; None before the first, and for a static source.
    last_error: the error of the last refresh; None when it succeeded.
    """

    name: str
    addresses: int
    refreshed_at: datetime | None
    last_error: str | None


class AddressSource(Protocol):
    """Supplies the networks that a provider sends from."""

    @property
    def generation(self) -> int:
        """A number that grows whenever the networks of `entries()` change.

        A later `last_seen` alone does not count: it comes with every look-up, and the allowlist
        would sort all its networks again each time.
        """

    def entries(self) -> Sequence[Entry]:
        """Return the current entries. Instant; raises nothing."""

    def changes(self) -> Sequence[AddressChange]:
        """Return its last few changes, the newest first. Instant; raises nothing."""

    def status(self) -> SourceStatus:
        """Return the state of this source. Instant; raises nothing."""

    async def run(self) -> None:
        """Refresh periodically until cancelled; a static source returns at once."""

    async def refresh(self) -> None:
        """Refresh now, once. Concurrent callers share one refresh. Raises nothing."""


class SourceObserver(Protocol):
    """Receives what a source found, to log and count it. Its methods raise nothing."""

    def looked_up(self, host: str, result: LookupResult) -> None: ...

    def changed(self, host: str, change: Change, address: Address) -> None: ...

    def grown(self, host: str, before: int, now: int) -> None:
        """The addresses of a host have grown by more than half within `dns.retain`."""


class Mode(StrEnum):
    """What an endpoint does with an address that is not on its allowlist."""

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


#: Addresses whose entries an allowlist remembers.
_MAX_FOUND: Final = 1024

_generation: Final = attrgetter("generation")


class Allowlist:
    """The union of several sources, searched by bisection.

    The index is rebuilt when the generation of a source has changed.
    """

    def __init__(self, sources: Sequence[AddressSource]) -> None:
        self.sources = tuple(sources)
        self._generations: tuple[int, ...] | None = None
        self._intervals: Intervals[Entry] = Intervals(())
        # Found since the index was built: senders come from the same few addresses. By their text,
        # for addresses take their time to hash.
        self._found: dict[str, Entry] = {}

    def match(self, address: Address) -> Entry | None:
        """Return the widest entry that holds this address, or None."""
        if tuple(map(_generation, self.sources)) != self._generations:
            self._rebuild()
        return self._intervals.find(address)

    def find(self, client: ClientAddress) -> Entry | None:
        """Return the same for the address of a client; that of one who comes again is known."""
        if tuple(map(_generation, self.sources)) != self._generations:
            self._rebuild()
        entry = self._found.get(client.text)
        if entry is None:
            entry = self._intervals.find(client.address)
            if entry is not None and len(self._found) < _MAX_FOUND:
                self._found[client.text] = entry
        return entry

    def entries(self) -> tuple[Entry, ...]:
        """Return every entry of every source, in their order."""
        return tuple(entry for source in self.sources for entry in source.entries())

    def changes(self) -> list[AddressChange]:
        """Return the last few changes of each source, the newest first."""
        every = [change for source in self.sources for change in source.changes()]
        return sorted(every, key=attrgetter("at"), reverse=True)

    @classmethod
    def union(cls, lists: Iterable["Allowlist"]) -> "Allowlist":
        """Return a list that holds whatever one of these holds, each source once."""
        sources = {source: None for each in lists for source in each.sources}
        networks: dict[str, str] = {}
        others = []
        for source in sources:
            if isinstance(source, StaticSource):
                networks.update((entry.text, entry.origin) for entry in source.entries())
            else:
                others.append(source)
        # Of thousands of endpoints, too, what is listed is one source.
        return cls([StaticSource("listed", networks.items()), *others])

    def unready(self) -> tuple[str, ...]:
        """Return the names of sources without any entry yet."""
        return tuple(s.status().name for s in self.sources if not s.entries())

    def _rebuild(self) -> None:
        generations = tuple(map(_generation, self.sources))
        self._found.clear()
        self._intervals = Intervals((entry.network, entry) for entry in self.entries())
        self._generations = generations


# ---- proven addresses -----------------------------------------------------------------------

#: For how many seconds an address counts as proven.
PROVEN_SECONDS: Final = 24 * 3600.0

#: Addresses that are remembered; the ones proven longest ago are forgotten first. And messages of
#: which nothing is stored.
MAX_PROVEN: Final = 4096


class ProvenAddresses(dict[str, float]):
    """Addresses that a signed message was accepted from lately, whether or not a list holds them.

    Each as text, with the monotonic time of the last one.

    An address that is in it is renewed by assignment, which costs a delivery no call; `add` takes a
    new one.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._now = clock.monotonic
        self._passed: dict[str, None] = {}

    def add_passed(self, address: str, now: float, key: str) -> None:
        """Note a signed message that was passed on, unless one of this key was: it may be a copy.

        Whoever has overheard a message can send it again. What is stored is told apart there.
        """
        if key in self._passed:
            return
        if len(self._passed) >= MAX_PROVEN:
            del self._passed[next(iter(self._passed))]
        self._passed[key] = None
        self.add(address, now)

    def add(self, address: str, now: float) -> None:
        """Note that a signed message of this address was accepted now, in monotonic seconds."""
        if len(self) >= MAX_PROVEN:
            self._shrink()
        self[address] = now

    def holds(self, address: Address) -> bool:
        """Return whether a signed message of this address was accepted within the time."""
        proven = self.get(str(address))
        return proven is not None and self._now() - proven <= PROVEN_SECONDS

    def _shrink(self) -> None:
        """Forget half of them: not at each new address anew."""
        for address in sorted(self, key=self.__getitem__)[: MAX_PROVEN // 2]:
            del self[address]


# ---- static networks ------------------------------------------------------------------------


class StaticSource:
    """An `AddressSource` that never changes."""

    generation = 1

    def __init__(self, name: str, networks: Iterable[tuple[str, str]]) -> None:
        """Parse networks given as text, each with its origin.

        Raises:
            ValueError: one of them is not a network; see `parse_network`.
        """
        self._name = name
        self._entries = tuple(_entry(text, origin) for text, origin in networks)

    def entries(self) -> Sequence[Entry]:
        return self._entries

    def changes(self) -> Sequence[AddressChange]:
        return ()

    def status(self) -> SourceStatus:
        return SourceStatus(self._name, len(self._entries), refreshed_at=None, last_error=None)

    async def run(self) -> None:
        """Return at once: a static source needs no refresh."""

    async def refresh(self) -> None:
        """Do nothing: a static source does not change."""


# A provider's networks stand in the lists of all its endpoints: kept once, not once for each.
@lru_cache(maxsize=4096)
def _entry(text: str, origin: str) -> Entry:
    return Entry(parse_network(text), origin)
