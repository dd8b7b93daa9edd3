"""The SQLite spool keeps the contract, and what a file on a disk can do to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import apsw
import pytest

from relay.core.clock import Clock, SystemClock
from relay.core.errors import SpoolUnavailable
from relay.core.event import Delivered, Done, Status
from relay.core.request import Headers
from relay.spool import Duplicate, Spool, SpoolBroken, SpoolFull, Stored
from relay.spool.history import Query
from relay.spool.sqlite import SqliteSpool, database, migrate, open_spool
from relay.spool.sqlite.database import Migrated
from tests.contracts.copies import CopiesContract
from tests.contracts.fan_out import FanOutContract
from tests.contracts.finding import FindingContract
from tests.contracts.history import HistoryContract
from tests.contracts.requeueing import RequeueContract
from tests.contracts.spool import Opener, SpoolContract, stored, take, take_one
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified
from tests.harness.optional_tools import fill, small_volume
from tests.spool.conftest import PATIENCE, FailingSync


class TestContract(
    SpoolContract,
    CopiesContract,
    FanOutContract,
    HistoryContract,
    RequeueContract,
    FindingContract,
):
    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        async def open_one_more(clock: Clock) -> Spool:
            return await open_spool(path, clock)

        return open_one_more


@pytest.fixture
async def spool(path: Path) -> AsyncIterator[SqliteSpool]:
    spool = await open_spool(path, ManualClock(RECEIVED), busy_timeout=PATIENCE)
    yield spool
    await spool.close()


async def test_migrating_says_from_where_to_where(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    known = database.newest_of(database.scripts())
    assert migrate(path) == Migrated(0, known)
    assert migrate(path) == Migrated(known, known)


async def test_a_spool_can_be_reached_through_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(path)
    spool = await open_spool(link, ManualClock())
    await stored(spool, verified())
    assert (await spool.stats()).size > path.stat().st_size
    await spool.close()


async def test_a_lock_that_another_program_holds_is_waited_for_no_longer_than_said(
    spool: SqliteSpool, path: Path
) -> None:
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        puts = [spool.put(verified(key=str(number))) for number in range(5)]
        async with asyncio.timeout(5):
            results = await asyncio.gather(*puts, spool.probe(), return_exceptions=True)
        assert {type(each) for each in results} == {SpoolUnavailable}
        assert (await spool.page(Query())).records == ()
        other.execute("ROLLBACK")
    assert isinstance(await spool.put(verified(key="0")), Stored)


async def test_a_claim_is_cancelled_even_when_it_would_have_failed(
    spool: SqliteSpool, path: Path
) -> None:
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        claiming = asyncio.ensure_future(take(spool))
        await asyncio.sleep(0)
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming
        other.execute("ROLLBACK")


async def test_a_full_disk_is_told_and_forgotten_when_there_is_room(spool: SqliteSpool) -> None:
    first = await stored(spool, verified())
    pages = await spool._writer.run(lambda each: each.pragma("page_count"))
    await spool._writer.run(lambda each: each.pragma("max_page_count", pages))
    results = await asyncio.gather(
        *(spool.put(verified(key=str(n), body=b"%d" % n * 50_000)) for n in range(5)),
        return_exceptions=True,
    )
    assert {type(each) for each in results} == {SpoolFull}
    assert await spool.put(verified()) == Duplicate(first)
    with pytest.raises(SpoolUnavailable):
        await spool.probe()
    assert (await take_one(spool)).event.id == first
    await spool._writer.run(lambda each: each.pragma("max_page_count", 1_000_000))
    for number in range(5):
        body = b"%d" % number * 50_000
        assert isinstance(await spool.put(verified(key=str(number), body=body)), Stored)
    await spool.probe()
    check = await spool._writer.run(lambda each: each.pragma("integrity_check"))
    assert check == "ok"


async def test_a_put_that_cannot_be_synced_is_never_acknowledged(
    failing: FailingSync, path: Path
) -> None:
    spool = await open_spool(path, ManualClock())
    await stored(spool, verified(event_id="before"))
    failing.suffix = "-wal"
    with pytest.raises(SpoolBroken):
        await spool.put(verified(key="2"))
    failing.suffix = None
    for call in (
        spool.put(verified(key="3")),
        spool.claim("billing", 1, timedelta(1), ordered=False),
        spool.page(Query()),
        spool.get("before"),
        spool.stats(),
        spool.wait_for_work("billing", 1),
    ):
        with pytest.raises(SpoolBroken, match="needs a restart"):
            await call
    await spool.close()
    again = await open_spool(path, ManualClock())
    assert "before" in [each.id for each in (await again.page(Query())).records]
    await again.close()


async def test_a_file_that_was_removed_ends_the_spool(spool: SqliteSpool, path: Path) -> None:
    await stored(spool, verified())
    path.unlink()
    with pytest.raises(SpoolBroken, match="removed or replaced"):
        await spool.put(verified(key="2"))


@pytest.mark.parametrize("wanted", [b"TARGET", b"X-Header", b"VISIBLE"])
async def test_a_byte_that_flipped_on_disk_is_noticed_when_read(path: Path, wanted: bytes) -> None:
    """In the body, in a header, in the path that would be appended."""
    spool = await open_spool(path, ManualClock(RECEIVED))
    event_id = await stored(
        spool,
        verified(
            body=b"a TARGET b",
            headers=Headers((("X-Header", "1"),)),
            path="/p?VISIBLE",
            remainder="/p",
        ),
    )
    await spool.close()
    raw = path.read_bytes()
    at = raw.index(wanted)
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x20]) + raw[at + 1 :])
    spool = await open_spool(path, ManualClock(RECEIVED))
    claimed = await take(spool)
    assert (claimed.leases, claimed.damaged) == ((), (event_id,))
    found = await spool.get(event_id)
    assert found is not None
    assert (found[0].status, found[0].last_outcome) == (Status.DEAD, "corrupt")
    assert found[1] is None
    await spool.close()


async def test_looking_at_a_damaged_event_takes_it_out_of_delivery(spool: SqliteSpool) -> None:
    event_id = await stored(spool, verified())
    await spool._writer.run(lambda each: each.execute("UPDATE events SET body = x'00'"))
    found = await spool.get(event_id)
    assert found is not None
    assert (found[0].status, found[0].last_outcome, found[1]) == (Status.DEAD, "corrupt", None)
    assert (await take(spool)).next_due is None


async def test_the_log_is_gone_when_the_last_one_closes(path: Path) -> None:
    first = await open_spool(path, ManualClock())
    second = await open_spool(path, ManualClock())
    await stored(first, verified())
    await first.close()
    assert len((await take(second)).leases) == 1
    await second.close()
    assert [each.name for each in path.parent.iterdir()] == ["relay.db"]


async def test_a_damaged_index_is_found_by_looking_everything_over(path: Path) -> None:
    clock = ManualClock(RECEIVED)
    spool = await open_spool(path, clock)
    for number in range(50):
        await stored(spool, verified(key=str(number)))
    await spool.close()
    with closing(apsw.Connection(str(path))) as connection:
        [(root,)] = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'events_received'"
        )
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\0")  # the kind of its page: none
    spool = await open_spool(path, clock)
    assert await spool.check_integrity()
    await spool.close()


async def test_a_full_disk_can_be_opened_again_after_an_orderly_stop(tmp_path: Path) -> None:
    with small_volume(tmp_path / "volume", 8) as volume:
        path = volume / "relay.db"
        spool = await open_spool(path, ManualClock(RECEIVED))
        await spool.reserve_space()
        first = await stored(spool, verified())
        await spool.close()
        fill(volume)
        spool = await open_spool(path, ManualClock(RECEIVED))
        await spool.reserve_space()
        with pytest.raises(SpoolFull):
            await spool.put(verified(key="more"))
        assert (await take_one(spool)).event.id == first
        await spool.close()


async def test_delivery_goes_on_while_senders_go_on_on_a_full_disk(tmp_path: Path) -> None:
    """What the ballast has let go is not given to what comes in."""
    with small_volume(tmp_path / "volume", 8) as volume:
        spool = await open_spool(volume / "relay.db", SystemClock())
        await spool.reserve_space()
        for number in range(50):
            await stored(spool, verified(key=str(number), body=b"x" * 2000))
        fill(volume)
        settled = refused = 0
        while settled < 50:
            for number in range(20):
                event = verified(
                    key=f"{settled} {number}", body=b"y" * 20_000, event_id=uuid4().hex
                )
                try:
                    await spool.put(event)
                except SpoolFull:
                    refused += 1
            claimed = await take(spool, 5)
            for lease in claimed.leases:
                await spool.settle(lease, Done(), Delivered(200))
                settled += lease.event.key.isdigit()
        assert refused > 100
        await spool.close()
