"""Address sources, and the allowlist that unites them.

A source never fails in the request path. Reading it is instant and raises nothing; only `run` does
I/O, and a failed refresh keeps the last good answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from netaddr import IPNetwork

from relay.allowlist.networks import Intervals, parse_network
from relay.core.request import Address

# ---- answers of name servers ----------------------------------------------------------------


class LookupResult(StrEnum):
    """How one DNS look-up of one host ended."""

    OK = "ok"
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    TIMEOUT = "timeout"
    EMPTY = "empty"
    REFUSED_ANSWER = "refused_answer"


class Change(StrEnum):
    """What happened to an address of a host."""

    ADDED = "added"
    REMOVED = "removed"


class Family(StrEnum):
    """The two questions of a look-up. They fail apart, so they are judged apart."""

    A = "A"
    AAAA = "AAAA"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question was answered with, as it came.

    result: OK when it was answered with addresses, believable or not; REFUSED_ANSWER when it was
        not even read.
    ttl: the lowest of the chain, in seconds.
    problem: why it was not read, for people.
    """

    result: LookupResult
    addresses: tuple[Address, ...] = ()
    ttl: int = 0
    problem: str = ""


# ---- contract -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One network that may send, and where that is known from.

    origin: the list it stands in, such as `seed 2022-03-15`, `configuration` or `dns`.
    host: the DNS name it was resolved from; None for a listed network.
    last_seen: when DNS last gave it; None for a listed network.
    """

    network: IPNetwork
    origin: str
    host: str | None = None
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The state of one source, for metrics, readiness and `relay allowlist show`.

    refreshed_at: last successful refresh; None when there never was one, or for a static source.
    last_error: what the last refresh ended with when it failed; None otherwise.
    """

    name: str
    addresses: int
    refreshed_at: datetime | None
    last_error: str | None


class AddressSource(Protocol):
    """Networks that a provider sends from."""

    @property
    def generation(self) -> int:
        """A number that grows whenever the networks of `entries()` change.

        A later `last_seen` alone does not count: it comes with every look-up, and the allowlist
        would sort all its networks again each time.
        """

    def entries(self) -> Sequence[Entry]:
        """Return what is known now. Instant; raises nothing."""

    def status(self) -> SourceStatus:
        """Return the state of this source. Instant; raises nothing."""

    async def run(self) -> None:
        """Keep the source fresh until cancelled; a static source returns at once."""

    async def refresh(self) -> None:
        """Look again now, once. Concurrent callers share one look. Raises nothing."""


class SourceObserver(Protocol):
    """Told what a source saw. Mechanisms do not log or count by themselves. Raises nothing."""

    def looked_up(self, host: str, result: LookupResult) -> None: ...

    def changed(self, host: str, change: Change, address: Address) -> None: ...


class Mode(StrEnum):
    """What an endpoint does with an address that is not on its allowlist."""

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


class Allowlist:
    """The union of several sources, looked up in sorted intervals."""

    def __init__(self, sources: Sequence[AddressSource]) -> None:
        self.sources = tuple(sources)
        self._generations: tuple[int, ...] | None = None
        self._intervals: Intervals[Entry] = Intervals(())

    def match(self, address: Address) -> Entry | None:
        """Return the widest entry that holds this address, or None."""
        return self._current().find(address)

    def entries(self) -> tuple[Entry, ...]:
        """Return every entry of every source, in their order."""
        return tuple(entry for source in self.sources for entry in source.entries())

    def unready(self) -> tuple[str, ...]:
        """Return the names of sources that have no addresses yet."""
        return tuple(s.status().name for s in self.sources if not s.entries())

    def _current(self) -> Intervals[Entry]:
        generations = tuple(source.generation for source in self.sources)
        if generations != self._generations:
            self._intervals = Intervals((entry.network, entry) for entry in self.entries())
            self._generations = generations
        return self._intervals


# ---- listed networks ------------------------------------------------------------------------


class StaticSource:
    """An `AddressSource` that never changes."""

    generation = 1

    def __init__(self, name: str, networks: Iterable[tuple[str, str]]) -> None:
        """Take networks as text, each with its origin.

        Raises:
            ValueError: one of them is not a network; see `parse_network`.
        """
        self._name = name
        self._entries = tuple(_entry(text, origin) for text, origin in networks)

    def entries(self) -> Sequence[Entry]:
        return self._entries

    def status(self) -> SourceStatus:
        return SourceStatus(self._name, len(self._entries), refreshed_at=None, last_error=None)

    async def run(self) -> None:
        """Return at once: there is nothing to keep fresh."""

    async def refresh(self) -> None:
        """Do nothing: a list is as fresh as it was written."""


# A provider's networks stand in the lists of all its endpoints: kept once, not once for each.
@lru_cache(maxsize=4096)
def _entry(text: str, origin: str) -> Entry:
    return Entry(parse_network(text), origin)
