"""`SqliteSpool`: the spool in one SQLite file, for one machine with any number of processes.

An event is acknowledged after the write-ahead log that holds it has been synced. Writes that wait
at that moment are committed together, so many senders share one sync. `writer` and `reader` are the
two threads that work on the file. `intake`, `copies`, `proxied`, `queue`, `lanes`, `history`,
`requeue`, `upkeep` and `refusals` hold the statements, `events` what these share; `database` opens,
migrates and classifies errors; `disk` keeps the file, its reserve and its lock.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw

from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.core.event import AttemptResult, Decision, Event, Lease, ProxiedDelivery
from relay.core.request import VerifiedDelivery
from relay.core.sealing import SealingKey
from relay.spool import AT_ONCE, Claimed, Handoff, ProxiedRow, PutResult, Settlement
from relay.spool.history import (
    Attempt,
    Page,
    Query,
    Record,
    Requeueable,
    Requeued,
    SpoolStats,
    Spread,
)
from relay.spool.sqlite import (
    body_tokens,
    copies,
    database,
    disk,
    events,
    finding,
    history,
    keyring,
    queue,
    requeue,
    upkeep,
)
from relay.spool.sqlite.activity import SqliteActivity
from relay.spool.sqlite.attempts import attempts_of
from relay.spool.sqlite.audit import SqliteAudit
from relay.spool.sqlite.database import Migrated, StoreHealth
from relay.spool.sqlite.disk import Ballast, ProcessLock
from relay.spool.sqlite.erasure import SqliteErasure
from relay.spool.sqlite.events import open_tables
from relay.spool.sqlite.intake import Done, NewEvent
from relay.spool.sqlite.notifier import Notifier
from relay.spool.sqlite.opening import Opened, open_file, sibling
from relay.spool.sqlite.overview import SqliteOverview
from relay.spool.sqlite.pauses import SqlitePauses
from relay.spool.sqlite.proxied import proxied_row, record_proxied
from relay.spool.sqlite.queue import Settlements
from relay.spool.sqlite.reader import Reader, run_at_low_priority
from relay.spool.sqlite.references import SqliteReferences
from relay.spool.sqlite.refusals import SqliteRefusals
from relay.spool.sqlite.sealing import SqliteSealing
from relay.spool.sqlite.strangers import SqliteStrangers
from relay.spool.sqlite.writer import Writer

# ---- the spool ------------------------------------------------------------------------------

T = TypeVar("T")

# How long a write waits for another process's. It may wait behind one such write and then for as
# long itself, and a sender must be answered within four seconds.
_BUSY_TIMEOUT: Final = timedelta(seconds=1.5)

# The integrity check keeps the log from being reset; past this many bytes it is restarted at normal
# priority.
_MAX_LOG_BYTES: Final = 64 * 1024 * 1024

# Seconds between claims where another process may have stored something.
_POLL_INTERVAL: Final = 1.0


def migrate(path: Path, advance: Callable[[], None] | None = None) -> Migrated:
    """Migrate the tables in this file, and create it if it does not exist.

    advance: is called again and again meanwhile.

    Raises:
        SpoolUnavailable: it cannot be used, is not a spool, or is one of a newer version.
    """
    return database.prepare(path.resolve(), _BUSY_TIMEOUT, advance)


def oldest_pending(path: Path) -> dict[str, datetime]:
    """Return the time of receipt of the oldest unfinished event, by upstream; write nothing.

    Raises:
        SpoolUnavailable: there is no spool in this file, or it cannot be read.
    """
    try:
        with closing(database.open_reading(path.resolve(), _BUSY_TIMEOUT)) as connection:
            return upkeep.oldest_pending(connection)
    except apsw.Error as error:
        raise database.unavailable(error) from error


def rows_by_key(path: Path) -> dict[str, int]:
    """Return how many rows of the spool in this file each key opens; write nothing.

    Raises:
        SpoolUnavailable: as `oldest_pending`.
    """
    try:
        with closing(database.open_reading(path.resolve(), _BUSY_TIMEOUT)) as connection:
            return keyring.counts(connection)
    except apsw.Error as error:
        raise database.unavailable(error) from error


async def open_spool(
    path: Path,
    clock: Clock,
    *,
    keys: Sequence[SealingKey] = (),
    busy_timeout: timedelta = _BUSY_TIMEOUT,
) -> "SqliteSpool":
    """Return the spool in this file, created and migrated as needed.

    The clock counts steady time from now on as the other processes on this spool do.

    keys: those of `SealingStore.use`.
    busy_timeout: how long an operation may wait for a lock that another process holds.

    Raises:
        SpoolUnavailable: as `migrate`; what is written there would not be durable; or
            (`KeyMissing`) there are rows that none of the keys opens.
    """
    opened = await asyncio.to_thread(open_file, path, busy_timeout, keys)
    if (ours := clock.epoch()) is not None:
        clock.adopt(await asyncio.to_thread(database.agree_on_epoch, opened.writing, ours))
    return SqliteSpool(opened, clock)


class SqliteSpool:
    """A `relay.spool.Spool`. Made by `open_spool`; must be closed."""

    def __init__(self, opened: Opened, clock: Clock) -> None:
        self._path = path = opened.path
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._opened_at = clock.steady()
        self._handoffs: dict[str, Handoff] = {}
        self._ordered: set[str] = set()
        self._health = StoreHealth()
        self._notifier = Notifier(clock)
        self._process_lock = ProcessLock(sibling(path, "presence"))
        self._ballast = Ballast(sibling(path, "ballast"))
        self._tables = replace(open_tables(opened.reading), keyring=opened.keyring)
        self._sweep, self._undelivered = upkeep.new_sweep(), upkeep.Position()
        self._reader = Reader(opened.reading, self._health)
        self._writer = Writer(
            opened.writing,
            self._tables,
            self._health,
            database.FileIdentity(path).unchanged,
            self._ballast,
            notify=self._notifier.notify,
            release=self._release_refused,
        )
        self.refusals = SqliteRefusals(self._writer, self._reader, opened.keyring)
        self.sealing = SqliteSealing(self._writer, self._reader, opened.keyring)
        self.audit = SqliteAudit(self._writer, self._reader)
        self.erasure = SqliteErasure(self._writer, self._tables, self._health, path)
        self.activity = SqliteActivity(self._writer, self._reader)
        self.references = SqliteReferences(self._writer, self._reader)
        self.overview = SqliteOverview(self._reader, path)
        self.strangers = SqliteStrangers(self._writer, self._reader)
        self.pauses = SqlitePauses(self._writer, self._reader, self._tables)

    async def reserve_space(self) -> None:
        await self._writer.run(lambda _: self._ballast.reserve())

    async def recover(self, horizon: timedelta) -> int:
        now = self._clock.steady()
        alone = self._process_lock.acquire()
        recovered = await self._writer.run(upkeep.recover) if alone else 0
        self._process_lock.downgrade()
        advance = partial(upkeep.advance, now=now, horizon=now + horizon)
        return recovered + await self._writer.run(advance)

    def subscribe(self, upstream: str, handoff: Handoff | None) -> None:
        if handoff is None:
            self._handoffs.pop(upstream, None)
        else:
            self._handoffs[upstream] = handoff

    def put_nowait(self, event: VerifiedDelivery, done: Done) -> NewEvent:
        now = self._clock.steady()
        new = NewEvent(event, self._tables.digests, events.micros(now), done)
        is_aside = new.flags & events.ASIDE and copies.aside(new.flags)
        for upstream in () if is_aside else event.upstreams:
            handoff = self._handoffs.get(upstream)
            if handoff is not None and handoff.seats.reserve():
                new.seat(upstream, handoff, self._tables.tokens.next(), now)
        try:
            self._writer.store(new)
        except Exception:
            for handoff, _ in new.seats.values():
                handoff.seats.cancel()
            raise
        return new

    def _release_refused(self, lease: Lease) -> None:
        """Make an event due that could not be handed over. Where that fails, its lease expires."""
        upstream = lease.event.upstream

        def notify(released: asyncio.Future[None]) -> None:
            if not released.cancelled() and released.exception() is None:
                self._notifier.notify(upstream)

        give_back = partial(
            queue.give_back, shared=self._tables, leases=[lease], now=self._clock.steady()
        )
        with suppress(SpoolUnavailable):
            self._writer.submit(give_back).add_done_callback(notify)

    async def put(self, event: VerifiedDelivery, within: float | None = None) -> PutResult:
        future: asyncio.Future[PutResult] = self._loop.create_future()
        new = self.put_nowait(event, partial(_resolve, future))
        timer = None if within is None else self._loop.call_later(within, _time_out, future)
        try:
            return await future
        except (asyncio.CancelledError, TimeoutError):
            new.withdraw()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def proxied_row(self, proxied: ProxiedDelivery) -> ProxiedRow:
        return proxied_row(proxied)

    async def record_proxied(self, passed: Sequence[ProxiedRow]) -> None:
        record = partial(record_proxied, shared=self._tables, proxied=passed)
        await self._writer.run(record, is_intake=True)

    async def claim(
        self,
        upstream: str,
        limit: int,
        lease: timedelta,
        *,
        ordered: bool,
        served_since: datetime | None = None,
    ) -> Claimed:
        self._notifier.clear(upstream)
        if ordered:
            self._ordered.add(upstream)
        claiming = self._writer.submit(
            partial(
                queue.claim,
                shared=self._tables,
                upstream=upstream,
                limit=limit,
                now=self._clock.steady(),
                lease=lease,
                ordered=ordered,
                opened_at=max(self._opened_at, served_since or self._opened_at),
            )
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The leases would be used by no worker, and would have to expire. Whatever goes wrong
            # with that, the caller is cancelled.
            with suppress(SpoolUnavailable):
                leases, now = (await claiming).leases, self._clock.steady()
                await self._writer.run(
                    partial(queue.give_back, shared=self._tables, leases=leases, now=now)
                )
            raise

    def settle_all(self, settlements: Sequence[Settlement], done: queue.Settled) -> None:
        settled = Settlements(settlements, events.micros(self._clock.now()), done)
        # Others can be delivered meanwhile, except where order makes them wait for these.
        urgent = bool(self._ordered) and any(
            each.lease.event.upstream in self._ordered for each in settlements
        )
        self._writer.settle(settled, urgent=urgent)

    async def settle(self, lease: Lease, decision: Decision, outcome: AttemptResult) -> None:
        future: asyncio.Future[Sequence[bool]] = self._loop.create_future()
        self.settle_all([Settlement(lease, decision, outcome)], partial(_resolve, future))
        [recorded] = await future
        if not recorded:
            raise queue.lost(lease)

    async def release(self, lease: Lease, due: datetime | None = None) -> None:
        now = self._clock.steady()
        await self._writer.run(
            partial(queue.release, shared=self._tables, lease=lease, now=now, due=due)
        )
        if due is None:
            self._notifier.notify(lease.event.upstream)

    async def requeue(
        self,
        query: Query,
        upstreams: Collection[str] | None = None,
        *,
        to: str | None = None,
        ended_before: datetime | None = None,
        spread: Spread = AT_ONCE,
    ) -> Requeued:
        asked, found = requeue.Asked(query, _set_of(upstreams), to, ended_before), None
        if finding.is_for(query):
            # It may take a while, and must not hold up what is written.
            found = await self._reader.run(
                partial(requeue.look_up, shared=self._tables, asked=asked, most=query.limit)
            )
        step = partial(
            requeue.requeue,
            shared=self._tables,
            asked=asked,
            now=self._clock.steady(),
            spread=spread,
            found=found,
        )
        requeued, waiting = await self._writer.run(step)
        for upstream in waiting:
            self._notifier.notify(upstream)
        return requeued

    async def requeueable(
        self,
        query: Query,
        upstreams: Collection[str] | None = None,
        *,
        to: str | None = None,
        most: int | None = None,
    ) -> Requeueable:
        asked = requeue.Asked(query, _set_of(upstreams), to)
        count = partial(requeue.count, shared=self._tables, asked=asked, most=most)
        connect = partial(database.open_reading, self._path, _BUSY_TIMEOUT)
        return await self._reader.run_apart(connect, count)

    async def page(self, query: Query) -> Page:
        page = finding.page if finding.is_for(query) else history.page
        return await self._reader.run(partial(page, shared=self._tables, query=query))

    async def get(self, event_id: str) -> tuple[Record, Event | None] | None:
        read = partial(history.get, keyring=self._tables.keyring, event_id=event_id)
        found = await self._reader.run(read)
        if found is not None and found.damaged:
            now = self._clock.now()
            await self._writer.run(partial(history.quarantine, event_id=event_id, now=now))
            found = await self._reader.run(read)
        return None if found is None else (found.record, found.event)

    async def starting_with(self, beginning: str, limit: int) -> tuple[str, ...]:
        return await self._reader.run(
            partial(finding.starting_with, beginning=beginning, limit=limit)
        )

    async def attempts(self, event_id: str) -> tuple[Attempt, ...]:
        return await self._reader.run(
            partial(attempts_of, keyring=self._tables.keyring, event_id=event_id)
        )

    async def prune(self, bodies_before: datetime, keys_before: datetime, limit: int) -> int:
        step = partial(
            upkeep.prune,
            shared=self._tables,
            sweep=self._sweep,
            bodies_before=events.micros(bodies_before),
            keys_before=events.micros(keys_before),
            limit=limit,
        )
        while True:
            changed, more = await self._writer.run(step)
            if changed or not more:
                return changed

    async def prune_undelivered(self, before: datetime, limit: int) -> Mapping[str, int]:
        step = partial(
            upkeep.prune_undelivered,
            position=self._undelivered,
            before=events.micros(before),
            limit=limit,
        )
        while True:
            removed, more = await self._writer.run(step)
            if removed or not more:
                return removed

    async def count_undelivered(self, since: datetime, until: datetime) -> Mapping[str, int]:
        first, end = events.micros(since), events.micros(until)
        return await self._reader.run(partial(upkeep.count_undelivered, since=first, until=end))

    async def expire_tokens(self, before: datetime, limit: int) -> int:
        time = events.micros(before)
        step = partial(body_tokens.expire, shared=self._tables, before=time, limit=limit)
        return await self._writer.run(step)

    async def probe(self) -> None:
        await self._writer.run(upkeep.probe, is_intake=True)

    async def check_integrity(self) -> tuple[str, ...]:
        return await run_at_low_priority(
            partial(database.open_reading, self._path, _BUSY_TIMEOUT),
            upkeep.check_integrity,
            too_long=lambda: disk.log_size(self._path) > _MAX_LOG_BYTES,
        )

    async def stats(self) -> SpoolStats:
        return await self._reader.run(partial(upkeep.stats, path=self._path))

    async def wait_for_work(self, upstream: str, seconds: float) -> None:
        self._health.check()
        await self._notifier.wait(upstream, min(seconds, _POLL_INTERVAL))

    async def close(self) -> None:
        """Finish every write that was submitted, and close the file. Idempotent."""
        # The last connection moves the log into the database, so it must be the one that writes.
        await self._reader.close()
        await self._writer.close()
        self._process_lock.release()


def _set_of(names: Collection[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _resolve(future: asyncio.Future[T], answer: T | SpoolUnavailable) -> None:
    if future.done():
        return
    if isinstance(answer, SpoolUnavailable):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _time_out(future: asyncio.Future[T]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
