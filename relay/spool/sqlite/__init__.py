"""The spool in one SQLite file: for one machine, with as many processes as wanted.

An event is acknowledged after the write-ahead log that holds it has been synced. What waits at that
moment is committed together, so many senders share one sync. `writer` and `reader` are the two
threads that work on the file; `events`, `queue`, `history` and `refusals` hold the statements;
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

# ---- waking those who wait for work of an upstream ------------------------------------------


class Notifier:
    """One bell an upstream, rung when there is new work and silenced by looking for it.

    It is silenced before the look, so work that arrives meanwhile rings again and is not missed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bells: dict[str, asyncio.Event] = {}

    def notify(self, upstream: str) -> None:
        """Wake everyone who waits for this upstream."""
        self._event(upstream).set()

    def clear(self, upstream: str) -> None:
        """Begin to look for work."""
        self._event(upstream).clear()

    async def wait(self, upstream: str, seconds: float) -> None:
        """Return when it rings, at once if it is ringing, at most after `seconds`."""
        bell = self._event(upstream)
        if bell.is_set() or seconds <= 0:
            return
        async with asyncio.TaskGroup() as group:
            rung = group.create_task(bell.wait())
            late = group.create_task(self._clock.sleep(seconds))
            await asyncio.wait((rung, late), return_when=asyncio.FIRST_COMPLETED)
            rung.cancel()
            late.cancel()

    def _event(self, upstream: str) -> asyncio.Event:
        return self._bells.setdefault(upstream, asyncio.Event())


# ---- the spool ------------------------------------------------------------------------------

T = TypeVar("T")

# How long a write waits for another process's. Work may wait for one such turn and then take its
# own, and a sender must be answered within four seconds.
_BUSY_TIMEOUT: Final = timedelta(seconds=1.5)

# A volume with less is full.
_MIN_FREE_BYTES: Final = 1024 * 1024

# A log that grows longer than this while the file is looked over is held up by that, in bytes.
_MAX_LOG_BYTES: Final = 64 * 1024 * 1024

# How often to look for work that another process stored.
_POLL_INTERVAL: Final = 1.0


def migrate(path: Path) -> Migrated:
    """Bring the tables in this file up to date, and make it if it is not there.

    Raises:
        SpoolUnavailable: it cannot be used, is not a spool, or is one of a newer version.
    """
    return database.prepare(path.resolve(), _BUSY_TIMEOUT)


async def open_spool(
    path: Path, clock: Clock, *, patience: timedelta = _BUSY_TIMEOUT
) -> "SqliteSpool":
    """Return the spool in this file, made and migrated as needed.

    The clock reckons steady time from now on as that of other processes on this spool.

    patience: how long an operation may wait for a lock that another process holds.

    Raises:
        SpoolUnavailable: as `migrate`; or what is written there would not be durable.
    """
    found, writing, reading = await asyncio.to_thread(_open, path, patience)
    if (ours := clock.epoch()) is not None:
        clock.adopt(await asyncio.to_thread(database.agree, writing, ours))
    return SqliteSpool(found, clock, writing, reading)


class SqliteSpool:
    """A `relay.spool.Spool`. Made by `open_spool`; must be closed."""

    def __init__(
        self, path: Path, clock: Clock, writing: apsw.Connection, reading: apsw.Connection
    ) -> None:
        self._path = path
        self._clock = clock
        self._began = clock.steady()
        self._takers: dict[str, Handoff] = {}
        self._in_order: set[str] = set()
        self._health = StoreHealth()
        self._notifier = Notifier(clock)
        self._process_lock = ProcessLock(_beside(path, "presence"))
        self._ballast = Ballast(_beside(path, "ballast"))
        self._reader = Reader(reading, self._health)
        self._writer = Writer(writing, self._health, disk.FileIdentity(path).holds, self._ballast)
        self.refusals = SqliteRefusals(self._writer, self._reader)

    async def reserve_space(self) -> None:
        await self._writer.run(lambda _: self._ballast.hold())

    async def recover(self, horizon: timedelta) -> int:
        now = self._clock.steady()
        alone = self._process_lock.acquire()
        recovered = await self._writer.run(queue.recover) if alone else 0
        self._process_lock.downgrade()
        advance = partial(queue.advance, now=now, horizon=now + horizon)
        return recovered + await self._writer.run(advance)

    def subscribe(self, upstream: str, handoff: Handoff | None) -> None:
        if handoff is None:
            self._takers.pop(upstream, None)
        else:
            self._takers[upstream] = handoff

    async def put(
        self, event: VerifiedDelivery, within: float | None = None
    ) -> Stored | Duplicate | Conflict:
        now = self._clock.steady()
        handoff = None if event.verification.test else self._takers.get(event.upstream)
        lease_time = None if handoff is None else handoff.reserve()
        if handoff is None or lease_time is None:
            put = partial(events.put, row=events.parameters(event, now, None))
            result = await _in_time(self._writer.submit(put, is_intake=True), within)
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
        return await _in_time(writing, within)

    async def record_proxied(self, passed: Sequence[ProxiedDelivery]) -> None:
        recorded = [events.proxied_parameters(each) for each in passed]
        await self._writer.run(partial(events.record_proxied, passed=recorded), is_intake=True)

    async def claim(self, upstream: str, limit: int, lease: timedelta, *, ordered: bool) -> Claimed:
        self._notifier.clear(upstream)
        if ordered:
            self._in_order.add(upstream)
        claiming = self._writer.submit(
            partial(
                queue.claim,
                upstream=upstream,
                limit=limit,
                now=self._clock.steady(),
                lease=lease,
                ordered=ordered,
                began=self._began,
            )
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The leases would have nobody to use them, and would have to run out. Whatever goes
            # wrong with that, the caller is cancelled.
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
            ordered=upstream in self._in_order,
        )
        # Its upstream has room for others meanwhile, but for those that come behind it in order.
        if await self._writer.run(settling, deferrable=upstream not in self._in_order):
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
        look = partial(history.get, event_id=event_id)
        found = await self._reader.run(look)
        if found is not None and found.damaged:
            now = self._clock.now()
            await self._writer.run(partial(history.quarantine, event_id=event_id, now=now))
            found = await self._reader.run(look)
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
        """Finish what was handed in and let go of the file. May be called again."""
        # The last connection moves the log into the database, so it must be the one that writes.
        await self._reader.close()
        await self._writer.close()
        self._process_lock.release()


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}-{what}")


async def _in_time(writing: asyncio.Future[T], within: float | None) -> T:
    """Return what comes of it. `asyncio.timeout` says the same at several times the price.

    Raises:
        TimeoutError: nothing has within so many seconds.
    """
    if within is None:
        return await writing
    late = asyncio.get_running_loop().call_later(within, _fail_late, writing)
    try:
        return await writing
    finally:
        late.cancel()


def _fail_late(writing: asyncio.Future[T]) -> None:
    if not writing.done():
        writing.set_exception(TimeoutError())


def _open(path: Path, patience: timedelta) -> tuple[Path, apsw.Connection, apsw.Connection]:
    # SQLite puts its log beside the file itself, not beside a link to it.
    found = path.resolve()
    try:
        return found, *_connect(found, patience)
    except SpoolUnavailable:
        # Opening writes a little, too. On a full disk the ballast of the last process makes room.
        if disk.free(found) >= _MIN_FREE_BYTES or not Ballast(_beside(found, "ballast")).remove():
            raise
        return found, *_connect(found, patience)


def _connect(path: Path, patience: timedelta) -> tuple[apsw.Connection, apsw.Connection]:
    database.prepare(path, patience)
    writing = database.open_writing(path, patience)
    return writing, database.open_reading(path, patience)
