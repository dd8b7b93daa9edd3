"""`SqliteSpool`: the spool in one SQLite file, for one machine with any number of processes.

An event is acknowledged after the write-ahead log that holds it has been synced. Writes that wait
at that moment are committed together, so many senders share one sync. `writer` and `reader` are the
two threads that work on the file; `events`, `queue`, `history` and `refusals` hold the statements;
`database` opens, migrates and classifies errors; `disk` keeps the file, its reserve and its lock.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw

from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.core.event import AttemptResult, Decision, Event, Lease, ProxiedDelivery
from relay.core.request import VerifiedDelivery
from relay.spool import (
    Claimed,
    Conflict,
    Duplicate,
    Handoff,
    Page,
    Query,
    Record,
    SpoolStats,
    Stored,
)
from relay.spool.sqlite import database, disk, events, history, queue
from relay.spool.sqlite.database import Migrated, StoreHealth
from relay.spool.sqlite.disk import Ballast, ProcessLock
from relay.spool.sqlite.reader import Reader, run_at_low_priority
from relay.spool.sqlite.refusals import SqliteRefusals
from relay.spool.sqlite.writer import Writer

# ---- waking workers that wait for events of an upstream -------------------------------------


class Notifier:
    """One flag for each upstream: set when there is something to claim, cleared by a claim.

    It is cleared before the claim, so an event that arrives meanwhile sets it again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: dict[str, asyncio.Event] = {}

    def notify(self, upstream: str) -> None:
        """Set the flag of this upstream, and wake every waiter."""
        self._event(upstream).set()

    def clear(self, upstream: str) -> None:
        """Clear the flag of this upstream; call it before a claim."""
        self._event(upstream).clear()

    async def wait(self, upstream: str, seconds: float) -> None:
        """Return when the flag is set, at the latest after `seconds`."""
        flag = self._event(upstream)
        if flag.is_set() or seconds <= 0:
            return
        async with asyncio.TaskGroup() as group:
            notified = group.create_task(flag.wait())
            timeout = group.create_task(self._clock.sleep(seconds))
            await asyncio.wait((notified, timeout), return_when=asyncio.FIRST_COMPLETED)
            notified.cancel()
            timeout.cancel()

    def _event(self, upstream: str) -> asyncio.Event:
        return self._events.setdefault(upstream, asyncio.Event())


# ---- the spool ------------------------------------------------------------------------------

T = TypeVar("T")

# How long a write waits for another process's. It may wait behind one such write and then for as
# long itself, and a sender must be answered within four seconds.
_BUSY_TIMEOUT: Final = timedelta(seconds=1.5)

# A volume with less free space counts as full.
_MIN_FREE_BYTES: Final = 1024 * 1024

# The integrity check keeps the log from being reset; past this many bytes it is restarted at normal
# priority.
_MAX_LOG_BYTES: Final = 64 * 1024 * 1024

# Seconds between claims where another process may have stored something.
_POLL_INTERVAL: Final = 1.0


def migrate(path: Path) -> Migrated:
    """Migrate the tables in this file, and create it if it does not exist.

    Raises:
        SpoolUnavailable: it cannot be used, is not a spool, or is one of a newer version.
    """
    return database.prepare(path.resolve(), _BUSY_TIMEOUT)


async def open_spool(
    path: Path, clock: Clock, *, busy_timeout: timedelta = _BUSY_TIMEOUT
) -> "SqliteSpool":
    """Return the spool in this file, created and migrated as needed.

    The clock counts steady time from now on as the other processes on this spool do.

    busy_timeout: how long an operation may wait for a lock that another process holds.

    Raises:
        SpoolUnavailable: as `migrate`; or what is written there would not be durable.
    """
    found, writing, reading = await asyncio.to_thread(_open, path, busy_timeout)
    if (ours := clock.epoch()) is not None:
        clock.adopt(await asyncio.to_thread(database.agree_on_epoch, writing, ours))
    return SqliteSpool(found, clock, writing, reading)


class SqliteSpool:
    """A `relay.spool.Spool`. Made by `open_spool`; must be closed."""

    def __init__(
        self, path: Path, clock: Clock, writing: apsw.Connection, reading: apsw.Connection
    ) -> None:
        self._path = path
        self._clock = clock
        self._opened_at = clock.steady()
        self._handoffs: dict[str, Handoff] = {}
        self._ordered: set[str] = set()
        self._health = StoreHealth()
        self._notifier = Notifier(clock)
        self._process_lock = ProcessLock(_sibling(path, "presence"))
        self._ballast = Ballast(_sibling(path, "ballast"))
        self._reader = Reader(reading, self._health)
        self._writer = Writer(
            writing, self._health, disk.FileIdentity(path).unchanged, self._ballast
        )
        self.refusals = SqliteRefusals(self._writer, self._reader)

    async def reserve_space(self) -> None:
        await self._writer.run(lambda _: self._ballast.reserve())

    async def recover(self, horizon: timedelta) -> int:
        now = self._clock.steady()
        alone = self._process_lock.acquire()
        recovered = await self._writer.run(queue.recover) if alone else 0
        self._process_lock.downgrade()
        advance = partial(queue.advance, now=now, horizon=now + horizon)
        return recovered + await self._writer.run(advance)

    def subscribe(self, upstream: str, handoff: Handoff | None) -> None:
        if handoff is None:
            self._handoffs.pop(upstream, None)
        else:
            self._handoffs[upstream] = handoff

    async def put(
        self, event: VerifiedDelivery, within: float | None = None
    ) -> Stored | Duplicate | Conflict:
        now = self._clock.steady()
        handoff = None if event.verification.test else self._handoffs.get(event.upstream)
        lease_time = None if handoff is None else handoff.reserve()
        if handoff is None or lease_time is None:
            put = partial(events.put, row=events.parameters(event, now, None))
            result = await _within(self._writer.submit(put, is_intake=True), within)
            if isinstance(result, Stored):
                self._notifier.notify(event.upstream)
            return result
        until = now + lease_time

        def hand_over(result: Stored | Duplicate | Conflict | None) -> None:
            if isinstance(result, Stored):
                handoff.accept(events.first_lease(event, result, now, until))
            else:
                handoff.cancel()

        try:
            put = partial(events.put, row=events.parameters(event, now, until))
            writing = self._writer.submit(put, is_intake=True, on_commit=hand_over)
        except Exception:
            handoff.cancel()
            raise
        return await _within(writing, within)

    async def record_proxied(self, passed: Sequence[ProxiedDelivery]) -> None:
        recorded = [events.proxied_parameters(each) for each in passed]
        await self._writer.run(partial(events.record_proxied, passed=recorded), is_intake=True)

    async def claim(self, upstream: str, limit: int, lease: timedelta, *, ordered: bool) -> Claimed:
        self._notifier.clear(upstream)
        if ordered:
            self._ordered.add(upstream)
        claiming = self._writer.submit(
            partial(
                queue.claim,
                upstream=upstream,
                limit=limit,
                now=self._clock.steady(),
                lease=lease,
                ordered=ordered,
                opened_at=self._opened_at,
            )
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The leases would be used by no worker, and would have to expire. Whatever goes wrong
            # with that, the caller is cancelled.
            with suppress(SpoolUnavailable):
                claimed = await claiming
                await self._writer.run(
                    partial(queue.give_back, leases=claimed.leases, now=self._clock.steady())
                )
            raise

    async def settle(self, lease: Lease, decision: Decision, outcome: AttemptResult) -> None:
        upstream = lease.event.upstream
        settling = partial(
            queue.settle,
            lease=lease,
            decision=decision,
            outcome=outcome,
            now=self._clock.now(),
            ordered=upstream in self._ordered,
        )
        # Others can be delivered meanwhile, except where order makes them wait for this one.
        if await self._writer.run(settling, deferrable=upstream not in self._ordered):
            self._notifier.notify(upstream)

    async def release(self, lease: Lease, due: datetime | None = None) -> None:
        now = self._clock.steady()
        await self._writer.run(partial(queue.release, lease=lease, now=now, due=due))
        if due is None:
            self._notifier.notify(lease.event.upstream)

    async def requeue(self, query: Query) -> tuple[str, ...]:
        now = self._clock.steady()
        requeued = await self._writer.run(partial(history.requeue, query=query, now=now))
        for _, upstream in requeued:
            self._notifier.notify(upstream)
        return tuple(event_id for event_id, _ in requeued)

    async def page(self, query: Query) -> Page:
        return await self._reader.run(partial(history.page, query=query))

    async def get(self, event_id: str) -> tuple[Record, Event | None] | None:
        read = partial(history.get, event_id=event_id)
        found = await self._reader.run(read)
        if found is not None and found.damaged:
            now = self._clock.now()
            await self._writer.run(partial(history.quarantine, event_id=event_id, now=now))
            found = await self._reader.run(read)
        return None if found is None else (found.record, found.event)

    async def prune(self, bodies_before: datetime, keys_before: datetime, limit: int) -> int:
        return await self._writer.run(
            partial(
                history.prune, bodies_before=bodies_before, keys_before=keys_before, limit=limit
            )
        )

    async def probe(self) -> None:
        await self._writer.run(history.probe, is_intake=True)

    async def check_integrity(self) -> tuple[str, ...]:
        return await run_at_low_priority(
            partial(database.open_reading, self._path, _BUSY_TIMEOUT),
            history.check_integrity,
            too_long=lambda: disk.log_size(self._path) > _MAX_LOG_BYTES,
        )

    async def stats(self) -> SpoolStats:
        return await self._reader.run(partial(history.stats, path=self._path))

    async def wait_for_work(self, upstream: str, seconds: float) -> None:
        self._health.check()
        await self._notifier.wait(upstream, min(seconds, _POLL_INTERVAL))

    async def close(self) -> None:
        """Finish every write that was submitted, and close the file. Idempotent."""
        # The last connection moves the log into the database, so it must be the one that writes.
        await self._reader.close()
        await self._writer.close()
        self._process_lock.release()


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}-{suffix}")


async def _within(writing: asyncio.Future[T], within: float | None) -> T:
    """Return the result of a write. `asyncio.timeout` does the same at several times the price.

    Raises:
        TimeoutError: there is none within so many seconds.
    """
    if within is None:
        return await writing
    timer = asyncio.get_running_loop().call_later(within, _time_out, writing)
    try:
        return await writing
    finally:
        timer.cancel()


def _time_out(writing: asyncio.Future[T]) -> None:
    if not writing.done():
        writing.set_exception(TimeoutError())


def _open(path: Path, busy_timeout: timedelta) -> tuple[Path, apsw.Connection, apsw.Connection]:
    # SQLite puts its log beside the file itself, not beside a link to it.
    found = path.resolve()
    try:
        return found, *_connect(found, busy_timeout)
    except SpoolUnavailable:
        # Opening writes a little, too. On a full disk the ballast of the last process makes room.
        if disk.free(found) >= _MIN_FREE_BYTES or not Ballast(_sibling(found, "ballast")).remove():
            raise
        return found, *_connect(found, busy_timeout)


def _connect(path: Path, busy_timeout: timedelta) -> tuple[apsw.Connection, apsw.Connection]:
    database.prepare(path, busy_timeout)
    writing = database.open_writing(path, busy_timeout)
    return writing, database.open_reading(path, busy_timeout)
