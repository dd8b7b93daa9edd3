"""One DNS host as an address source: its state, and the pure update of it by an answer.

An address is added at once and removed slowly: an attacker who breaks our DNS must not be able to
empty the list, nor one who spoofs a single answer to flood it. Times are seconds on one monotonic
clock, so that a jump of the wall clock expires nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from netaddr import IPNetwork

from relay.allowlist import (
    AddressChange,
    Answer,
    Change,
    Entry,
    Family,
    LookupResult,
    SourceObserver,
    SourceStatus,
)
from relay.allowlist.dns_answers import (
    ValidatedAnswer,
    family_of,
    is_conclusive,
    overall_result,
    validate,
)
from relay.allowlist.networks import parse_host_name
from relay.allowlist.resolver import Resolver
from relay.core.clock import Clock
from relay.core.rate_limit import backoff_pause
from relay.core.request import Address

# ---- the state of a host, and its update ----------------------------------------------------

MAX_OF_HOST: Final = 256
#: Changes of a host that are remembered.
MAX_CHANGES: Final = 20

_FIRST_RETRY = 1.0


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """One address of a host.

    last_seen: when an answer last held it.
    missing_seconds: for how long good answers have left it out since then.
    added_at: when the first answer held it; None for those that the host began with.
    proven: a signed message was accepted from it while it was known.
    first_seen: when the first answer held it; None where that is not known.
    """

    last_seen: float
    missing_seconds: float = 0.0
    added_at: float | None = None
    proven: bool = False
    first_seen: float | None = None


@dataclass(frozen=True, slots=True)
class HostChange:
    """An address that has come or gone at this time."""

    at: float
    change: Change
    address: Address


@dataclass(frozen=True, slots=True)
class HostState:
    """The addresses of one host, and how its last look-ups ended.

    answered_at: when an answer last held a valid address; None when none ever did.
    family_answered_at: the time of the last look-up, for each family that it answered; the time
        between two such look-ups in a row is what `KnownAddress.missing_seconds` adds up.
    failures: consecutive look-ups, up to the last, without a valid address.
    history: the last changes, the newest first, without the addresses that it began with.
    """

    known: Mapping[Address, KnownAddress] = field(default_factory=dict)
    answered_at: float | None = None
    family_answered_at: Mapping[Family, float] = field(default_factory=dict)
    failures: int = 0
    history: tuple[HostChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """How often to look a host up, and how long its addresses are kept.

    retain: how long good answers must leave an address out before it is removed.
    max_stale: how long after the last good answer all addresses are removed.
    """

    min_refresh: timedelta
    max_refresh: timedelta
    retain: timedelta
    max_stale: timedelta


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """The effect of one look-up.

    delay: seconds until the next look-up.
    problem: the error as text for an operator; None when the result is OK.
    grown_from: how many addresses there were before those that came within `retain`, where the
        look-up has added some and they are more than half as many; None otherwise.
    """

    state: HostState
    changes: tuple[tuple[Change, Address], ...]
    result: LookupResult
    delay: float
    problem: str | None
    grown_from: int | None = None


def update(
    state: HostState,
    answers: Mapping[Family, Answer],
    now: float,
    policy: Policy,
    dice: Random,
    *,
    is_proven: Callable[[Address], bool] = lambda _: False,
) -> RefreshResult:
    """Return the state after a look-up, the changes, and the delay until the next one.

    is_proven: whether a signed message was accepted from this address lately.
    """
    validated = {family: validate(answer) for family, answer in answers.items()}
    state = replace(state, known=_with_proofs(state.known, is_proven))
    if any(each.good for each in validated.values()):
        known = _with_addresses(_without_expired(state, validated, now, policy), validated, now)
        after = HostState(known, now, _family_times(validated, now), 0)
    elif (
        state.answered_at is not None and now - state.answered_at > policy.max_stale.total_seconds()
    ):
        after = HostState({}, state.answered_at, {}, state.failures + 1)
    else:
        after = replace(state, family_answered_at={}, failures=state.failures + 1)
    changes = _changes(state.known, after.known)
    if state.answered_at is not None:
        new = tuple(HostChange(now, change, address) for change, address in changes)
        after = replace(after, history=(new + state.history)[:MAX_CHANGES])
    result = overall_result(validated)
    wrong = [f"{family}: {each.problem}" for family, each in validated.items() if each.problem]
    return RefreshResult(
        state=after,
        changes=changes,
        result=result,
        delay=_next_delay(after, validated, result, policy) * dice.uniform(0.9, 1.0),
        problem=None if result is LookupResult.OK else "; ".join(wrong),
        grown_from=_grown_from(state.known, after.known, now - policy.retain.total_seconds()),
    )


def _without_expired(
    state: HostState, validated: Mapping[Family, ValidatedAnswer], now: float, policy: Policy
) -> dict[Address, KnownAddress]:
    """Return the known addresses without those that answers have left out for too long."""
    kept: dict[Address, KnownAddress] = {}
    for address, known in state.known.items():
        family = family_of(address)
        each = validated[family]
        since = state.family_answered_at.get(family)
        if (
            not is_conclusive(each)
            or address in each.good
            or since is None
            or known.last_seen >= since
        ):
            kept[address] = known
            continue
        missing = known.missing_seconds + (now - since)
        # That a family has no address at all is a weaker sign than an answer without this one:
        # resolvers that filter AAAA say it too. It has to last as long as an outage would.
        limit = policy.retain if each.good else max(policy.retain, policy.max_stale)
        if missing < limit.total_seconds():
            kept[address] = replace(known, missing_seconds=missing)
    return kept


def _with_addresses(
    kept: dict[Address, KnownAddress], validated: Mapping[Family, ValidatedAnswer], now: float
) -> dict[Address, KnownAddress]:
    """Add the good addresses; what is over `MAX_OF_HOST` is dropped as `most_trusted` says."""
    known = dict(kept)
    new = KnownAddress(now, added_at=now if kept else None, first_seen=now)
    for each in validated.values():
        for address in each.good:
            before = kept.get(address)
            known[address] = (
                new if before is None else replace(before, last_seen=now, missing_seconds=0.0)
            )
    return most_trusted(known)


def most_trusted(known: Mapping[Address, KnownAddress]) -> dict[Address, KnownAddress]:
    """Return at most `MAX_OF_HOST` of these: proven ones first, then those seen last.

    Whoever answers for a name could push out a host's own addresses otherwise.
    """
    if len(known) <= MAX_OF_HOST:
        return dict(known)
    ranked = sorted(
        known.items(), key=lambda item: (item[1].proven, item[1].last_seen), reverse=True
    )
    return dict(ranked[:MAX_OF_HOST])


def _with_proofs(
    known: Mapping[Address, KnownAddress], is_proven: Callable[[Address], bool]
) -> Mapping[Address, KnownAddress]:
    proven = [address for address, each in known.items() if not each.proven and is_proven(address)]
    if not proven:
        return known
    return {**known, **{address: replace(known[address], proven=True) for address in proven}}


def _grown_from(
    before: Mapping[Address, KnownAddress], after: Mapping[Address, KnownAddress], since: float
) -> int | None:
    """Return the number of addresses from before this time, if the newer are over half as many."""
    if not before or after.keys() <= before.keys():
        return None
    newer = sum(each.added_at is not None and each.added_at > since for each in after.values())
    older = len(after) - newer
    return older if 2 * newer > older else None


def _family_times(validated: Mapping[Family, ValidatedAnswer], now: float) -> dict[Family, float]:
    return {family: now for family, each in validated.items() if is_conclusive(each)}


def _next_delay(
    state: HostState,
    validated: Mapping[Family, ValidatedAnswer],
    result: LookupResult,
    policy: Policy,
) -> float:
    shortest = policy.min_refresh.total_seconds()
    if result is LookupResult.OK:
        ttl = min(each.ttl for each in validated.values() if each.good)
        return min(max(ttl, shortest), policy.max_refresh.total_seconds())
    if state.known:
        return shortest
    # Nothing can be let in until there is an answer.
    return backoff_pause(_FIRST_RETRY, shortest, state.failures - 1)


def _changes(
    before: Mapping[Address, KnownAddress], after: Mapping[Address, KnownAddress]
) -> tuple[tuple[Change, Address], ...]:
    added = tuple((Change.ADDED, address) for address in after if address not in before)
    removed = tuple((Change.REMOVED, address) for address in before if address not in after)
    return added + removed


# ---- the source -----------------------------------------------------------------------------

_FAILED = {family: Answer(LookupResult.SERVFAIL) for family in Family}


class DnsSource:
    """An `AddressSource` of one host name.

    Addresses are added with the first answer that holds them, and kept through failures; `update`
    has the rules.
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
        state: HostState,
        on_update: Callable[[str, HostState], None],
        is_proven: Callable[[Address], bool] = lambda _: False,
    ) -> None:
        """Start from this state, and call `on_update` with each later one.

        is_proven: whether a signed message was accepted from this address lately.

        Raises:
            ValueError: this is not a host name.
        """
        self._host = parse_host_name(host)
        self._resolver = resolver
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._observer = observer
        self._on_update = on_update
        self._is_proven = is_proven
        self._state = state
        self._entries = self._build_entries()
        self._generation = 1
        self._problem: str | None = None
        self._due = clock.monotonic()
        self._refresh_task: asyncio.Task[None] | None = None

    @property
    def generation(self) -> int:
        return self._generation

    def entries(self) -> Sequence[Entry]:
        return self._entries

    def changes(self) -> Sequence[AddressChange]:
        return [
            AddressChange(self._wall_time(each.at), self._host, each.change, each.address)
            for each in self._state.history
        ]

    def status(self) -> SourceStatus:
        answered = self._state.answered_at
        return SourceStatus(
            name=self._host,
            addresses=len(self._entries),
            refreshed_at=None if answered is None else self._wall_time(answered),
            last_error=self._problem,
        )

    def reconfigure(self, resolver: Resolver, policy: Policy) -> None:
        """Replace resolver and policy, from the next look-up on. Known addresses stay."""
        self._resolver = resolver
        self._policy = policy

    async def run(self) -> None:
        """Refresh now, and then whenever a refresh is due, until cancelled."""
        try:
            while True:
                await self.refresh()
                await self._sleep_until_due()
        finally:
            if self._refresh_task is not None:
                self._refresh_task.cancel()
                await asyncio.wait({self._refresh_task})

    async def refresh(self) -> None:
        """Refresh now, or wait for the refresh that is under way. Raises nothing.

        Cancelling a caller does not cancel the refresh.
        """
        task = self._refresh_task
        if task is None or task.done():
            task = self._refresh_task = asyncio.get_running_loop().create_task(self._refresh_once())
        await asyncio.wait({task})

    async def _sleep_until_due(self) -> None:
        # In short pieces, because a refresh on a knock in between moves the time.
        longest = self._policy.min_refresh.total_seconds()
        while (left := self._due - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, longest))

    async def _refresh_once(self) -> None:
        # Whatever happens below, the next look-up is not at once.
        self._due = self._clock.monotonic() + self._policy.min_refresh.total_seconds()
        try:
            answers = await self._resolver.look_up(self._host)
        except Exception:  # noqa: BLE001 - no answer, however strange, ends the refreshing
            answers = _FAILED
        now = self._clock.monotonic()
        step = update(
            self._state, answers, now, self._policy, self._dice, is_proven=self._is_proven
        )
        self._state = step.state
        self._problem = step.problem
        self._due = now + step.delay
        self._entries = self._build_entries()
        if step.changes:
            self._generation += 1
        self._on_update(self._host, step.state)
        self._observer.looked_up(self._host, step.result)
        for change, address in step.changes:
            self._observer.changed(self._host, change, address)
        if step.grown_from is not None:
            self._observer.grown(self._host, step.grown_from, len(step.state.known))

    def _build_entries(self) -> tuple[Entry, ...]:
        known = sorted(self._state.known.items(), key=lambda item: (item[0].version, int(item[0])))
        return tuple(
            Entry(
                IPNetwork(str(address)),
                "dns",
                self._host,
                self._wall_time(each.last_seen),
                None if each.first_seen is None else self._wall_time(each.first_seen),
            )
            for address, each in known
        )

    def _wall_time(self, then: float) -> datetime:
        return self._clock.now() - timedelta(seconds=self._clock.monotonic() - then)
