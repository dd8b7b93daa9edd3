"""One DNS host as an address source: what is known of it, and how an answer changes that.

Deciding is pure. Addresses come in at once and leave slowly: whoever can break our DNS must not be
able to empty the list, and whoever can spoof one answer must not be able to flood it. Times are
seconds on one monotonic clock, so a wall clock that jumps ages nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from random import Random
from typing import Final

from netaddr import IPNetwork

from relay.allowlist import (
    Answer,
    Change,
    Entry,
    Family,
    LookupResult,
    SourceObserver,
    SourceStatus,
)
from relay.allowlist.networks import parse_host_name, special
from relay.allowlist.resolver import Resolver
from relay.core.clock import Clock
from relay.core.rate_limit import backoff_pause
from relay.core.request import Address

# ---- what is known of a host ----------------------------------------------------------------

MAX_IN_ANSWER: Final = 64
MAX_OF_HOST: Final = 256

_FIRST_RETRY = 1.0


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """One address of a host.

    seen: when an answer last held it.
    missing: for how many seconds good answers have left it out since then.
    """

    seen: float
    missing: float = 0.0


@dataclass(frozen=True, slots=True)
class HostState:
    """All that is known of one host.

    answered: when an answer last held a believable address; None when none ever did.
    counting: when the last look-up was, for each family whose question it got answered; the time
        between two such look-ups in a row is what `KnownAddress.missing` adds up.
    failures: look-ups in a row, up to the last, that brought no believable address.
    """

    known: Mapping[Address, KnownAddress] = field(default_factory=dict)
    answered: float | None = None
    counting: Mapping[Family, float] = field(default_factory=dict)
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """When to look again, and how long to hold on to what DNS gave.

    retain: how long good answers must leave an address out before it goes.
    max_stale: how long after the last good answer the whole host goes.
    """

    min_refresh: timedelta
    max_refresh: timedelta
    retain: timedelta
    max_stale: timedelta


@dataclass(frozen=True, slots=True)
class Step:
    """What one look-up came to.

    delay: seconds until the next look-up.
    problem: what was wrong, for people; None when the result is OK.
    """

    record: HostState
    changes: tuple[tuple[Change, Address], ...]
    result: LookupResult
    delay: float
    problem: str | None


@dataclass(frozen=True, slots=True)
class _Judged:
    """An answer after its addresses were judged; only the `good` ones go any further."""

    result: LookupResult
    good: frozenset[Address]
    ttl: int
    problem: str | None


def update(
    record: HostState,
    answers: Mapping[Family, Answer],
    now: float,
    policy: Policy,
    dice: Random,
) -> Step:
    """Return what is known after a look-up, what changed, and when to look again."""
    judged = {family: _judge(answer) for family, answer in answers.items()}
    believed = any(each.good for each in judged.values())
    if believed:
        known = _take(_age(record, judged, now, policy), judged, now)
        after = HostState(known, now, _counting(judged, now), 0)
    elif record.answered is not None and now - record.answered > policy.max_stale.total_seconds():
        after = HostState({}, record.answered, {}, record.failures + 1)
    else:
        after = replace(record, counting={}, failures=record.failures + 1)
    result = _sum_up(judged)
    wrong = [f"{family}: {each.problem}" for family, each in judged.items() if each.problem]
    return Step(
        record=after,
        changes=_changes(record.known, after.known),
        result=result,
        delay=_delay(after, judged, result, policy) * dice.uniform(0.9, 1.0),
        problem=None if result is LookupResult.OK else "; ".join(wrong),
    )


def admissible(answers: Mapping[Family, Answer]) -> tuple[LookupResult, tuple[Address, ...]]:
    """Return how a look-up ended, and which of its addresses would be let in, in order."""
    judged = {family: _judge(answer) for family, answer in answers.items()}
    good = {address for each in judged.values() for address in each.good}
    return _sum_up(judged), tuple(sorted(good, key=lambda each: (each.version, int(each))))


def _judge(answer: Answer) -> _Judged:
    refuse = LookupResult.REFUSED_ANSWER
    if not answer.addresses:
        empty = answer.result is LookupResult.OK
        result = LookupResult.EMPTY if empty else answer.result
        problem = f"{result}, {answer.problem}" if answer.problem else str(result)
        return _Judged(result, frozenset(), 0, problem)
    if len(answer.addresses) > MAX_IN_ANSWER:
        problem = f"{refuse}, {len(answer.addresses)} addresses"
        return _Judged(refuse, frozenset(), 0, problem)
    kinds = {address: special(address) for address in answer.addresses}
    good = frozenset(address for address, kind in kinds.items() if kind is None)
    bad = [f"{address} is {kind}" for address, kind in kinds.items() if kind is not None]
    if bad:
        return _Judged(refuse, good, answer.ttl, f"{refuse}, {', '.join(bad)}")
    return _Judged(LookupResult.OK, good, answer.ttl, None)


def _age(
    record: HostState, judged: Mapping[Family, _Judged], now: float, policy: Policy
) -> dict[Address, KnownAddress]:
    """Return what is still known of those that the answers leave out or say nothing about."""
    left: dict[Address, KnownAddress] = {}
    for address, known in record.known.items():
        family = _family(address)
        each = judged[family]
        since = record.counting.get(family)
        if not _speaks(each) or address in each.good or since is None or known.seen >= since:
            left[address] = known
            continue
        missing = known.missing + (now - since)
        # That a family has no address at all is a weaker sign than an answer without this one:
        # resolvers that filter AAAA say it too. It has to last as long as an outage would.
        limit = policy.retain if each.good else max(policy.retain, policy.max_stale)
        if missing < limit.total_seconds():
            left[address] = replace(known, missing=missing)
    return left


def _take(
    left: dict[Address, KnownAddress], judged: Mapping[Family, _Judged], now: float
) -> dict[Address, KnownAddress]:
    """Return what is known with the good addresses added, the longest unseen making room."""
    fresh = {address: KnownAddress(now) for each in judged.values() for address in each.good}
    known = {**left, **fresh}
    if len(known) <= MAX_OF_HOST:
        return known
    newest = sorted(known.items(), key=lambda item: item[1].seen, reverse=True)
    return dict(newest[:MAX_OF_HOST])


def _counting(judged: Mapping[Family, _Judged], now: float) -> dict[Family, float]:
    return {family: now for family, each in judged.items() if _speaks(each)}


def _speaks(each: _Judged) -> bool:
    """Say whether an answer tells which addresses its family has; used beside a believed answer."""
    return bool(each.good) or each.result is LookupResult.EMPTY


def _sum_up(judged: Mapping[Family, _Judged]) -> LookupResult:
    """Return the worst result; that one family is empty is nothing bad."""
    results = {each.result for each in judged.values()}
    for failure in (
        LookupResult.REFUSED_ANSWER,
        LookupResult.SERVFAIL,
        LookupResult.TIMEOUT,
        LookupResult.NXDOMAIN,
    ):
        if failure in results:
            return failure
    return LookupResult.OK if LookupResult.OK in results else LookupResult.EMPTY


def _delay(
    record: HostState, judged: Mapping[Family, _Judged], result: LookupResult, policy: Policy
) -> float:
    shortest = policy.min_refresh.total_seconds()
    if result is LookupResult.OK:
        ttl = min(each.ttl for each in judged.values() if each.good)
        return min(max(ttl, shortest), policy.max_refresh.total_seconds())
    if record.known:
        return shortest
    # Nothing can be let in until there is an answer.
    return backoff_pause(_FIRST_RETRY, shortest, record.failures - 1)


def _changes(
    before: Mapping[Address, KnownAddress], after: Mapping[Address, KnownAddress]
) -> tuple[tuple[Change, Address], ...]:
    added = tuple((Change.ADDED, address) for address in after if address not in before)
    removed = tuple((Change.REMOVED, address) for address in before if address not in after)
    return added + removed


def _family(address: Address) -> Family:
    return Family.A if isinstance(address, IPv4Address) else Family.AAAA


# ---- the source -----------------------------------------------------------------------------

_FAILED = {family: Answer(LookupResult.SERVFAIL) for family in Family}


class DnsSource:
    """An `AddressSource` of one host name.

    Addresses are admitted with the first answer that holds them, and held on to through every
    failure; `learn` has the rules.
    """

    def __init__(
        self,
        host: str,
        *,
        resolver: Resolver,
        policy: Policy,
        clock: Clock,
        dice: Random,
        observer: SourceObserver,
        record: HostState,
        keep: Callable[[str, HostState], None],
    ) -> None:
        """Start from a record that is known already, and hand each later one to `keep`.

        Raises:
            ValueError: this is not a host name.
        """
        self._host = parse_host_name(host)
        self._resolver = resolver
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._observer = observer
        self._keep = keep
        self._record = record
        self._entries = self._list()
        self._generation = 1
        self._problem: str | None = None
        self._due = clock.monotonic()
        self._look: asyncio.Task[None] | None = None

    @property
    def generation(self) -> int:
        return self._generation

    def entries(self) -> Sequence[Entry]:
        return self._entries

    def status(self) -> SourceStatus:
        answered = self._record.answered
        return SourceStatus(
            name=self._host,
            addresses=len(self._entries),
            refreshed_at=None if answered is None else self._moment(answered),
            last_error=self._problem,
        )

    def reconfigure(self, resolver: Resolver, policy: Policy) -> None:
        """Look in this way from the next look on. What is known stays."""
        self._resolver = resolver
        self._policy = policy

    async def run(self) -> None:
        """Look now, and then whenever it is time again, until cancelled."""
        try:
            while True:
                await self.refresh()
                await self._until_due()
        finally:
            if self._look is not None:
                self._look.cancel()
                await asyncio.wait({self._look})

    async def refresh(self) -> None:
        """Look now, or wait for the look that is under way. Raises nothing.

        A caller that stops waiting does not stop the look.
        """
        look = self._look
        if look is None or look.done():
            look = self._look = asyncio.get_running_loop().create_task(self._look_up())
        await asyncio.wait({look})

    async def _until_due(self) -> None:
        # In short pieces, because a look that somebody asked for in between moves the time.
        longest = self._policy.min_refresh.total_seconds()
        while (left := self._due - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, longest))

    async def _look_up(self) -> None:
        # Whatever happens below, the next look is not at once.
        self._due = self._clock.monotonic() + self._policy.min_refresh.total_seconds()
        try:
            answers = await self._resolver.look_up(self._host)
        except Exception:  # noqa: BLE001 - no answer, however strange, ends the looking
            answers = _FAILED
        now = self._clock.monotonic()
        step = update(self._record, answers, now, self._policy, self._dice)
        self._record = step.record
        self._problem = step.problem
        self._due = now + step.delay
        self._entries = self._list()
        if step.changes:
            self._generation += 1
        self._keep(self._host, step.record)
        self._observer.looked_up(self._host, step.result)
        for change, address in step.changes:
            self._observer.changed(self._host, change, address)

    def _list(self) -> tuple[Entry, ...]:
        known = sorted(self._record.known.items(), key=lambda item: (item[0].version, int(item[0])))
        return tuple(
            Entry(IPNetwork(str(address)), "dns", self._host, self._moment(each.seen))
            for address, each in known
        )

    def _moment(self, then: float) -> datetime:
        return self._clock.now() - timedelta(seconds=self._clock.monotonic() - then)
