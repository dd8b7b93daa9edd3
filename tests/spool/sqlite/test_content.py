"""Nothing of sealed content lies in the file, and damage to it is told."""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random

import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.core.event import Status
from relay.core.sealing import SealingKey
from relay.spool import Duplicate, Spool
from relay.spool.history import Query
from relay.spool.refusals import RefusalQuery
from relay.spool.sqlite import events, open_spool
from tests.contracts.sealing import CANARY, EVENT, K0, fill
from tests.contracts.spool import record, stored, take, take_one
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.conftest import PATIENCE


@pytest.mark.parametrize("keys", [[], [K0]])
async def test_nothing_of_the_content_lies_in_the_files(path: Path, keys: list[SealingKey]) -> None:
    spool = await open_spool(path, ManualClock(RECEIVED), keys=keys)
    await fill(spool, ManualClock(RECEIVED))
    log = path.with_name(f"{path.name}-wal")
    found = CANARY.encode() in log.read_bytes()
    await spool.close()
    assert not log.exists()
    assert [found, CANARY.encode() in path.read_bytes()] == [not keys] * 2


@pytest.fixture
def file(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path))


async def opened(path: Path) -> Spool:
    return await open_spool(path, ManualClock(RECEIVED), keys=[K0], busy_timeout=PATIENCE)


def flipped(file: apsw.Connection, table: str, column: str, at: int) -> None:
    """Flip a bit of one value."""
    [(value,)] = events.fetch(file, f"SELECT {column} FROM {table}")
    changed = bytearray(value.encode() if isinstance(value, str) else value)
    changed[at] ^= 1
    flipped = changed.decode() if isinstance(value, str) else bytes(changed)
    file.execute(f"UPDATE {table} SET {column} = ?", (flipped,))


async def test_a_flipped_bit_in_a_sealed_body_is_damage_and_a_copy_mends_it(
    path: Path, file: apsw.Connection
) -> None:
    spool = await opened(path)
    await stored(spool, verified(event_id="first"))
    flipped(file, "events", "body", 20)
    claimed = await take(spool)
    assert (claimed.leases, claimed.damaged, claimed.locked) == ((), ("first",), ())
    assert (await record(spool, "first")).damaged
    assert await spool.put(verified()) == Duplicate("first", revived=True)
    assert (await take_one(spool)).event.body == verified().delivery.body
    await spool.close()


@pytest.mark.parametrize(
    "number",
    [7, None],
)
async def test_a_row_that_does_not_name_its_key_is_damaged(
    path: Path, file: apsw.Connection, number: int | None
) -> None:
    spool = await opened(path)
    await stored(spool, verified(event_id="first"))
    file.execute("UPDATE events SET sealed_by = ?", (number,))
    assert (await take(spool)).damaged == ("first",)
    await spool.close()


@pytest.mark.parametrize("column", ["body", "head"])
async def test_what_was_moved_to_another_row_is_damaged_though_its_checksum_fits(
    path: Path, file: apsw.Connection, column: str
) -> None:
    spool = await opened(path)
    for event_id in ("first", "second"):
        await stored(spool, verified(event_id=event_id, key=event_id))
    rows = events.fetch(file, "SELECT received_at, flags, head, body FROM events ORDER BY seq")
    (_, _, head, body), (received_at, flags, other_head, other_body) = rows
    head, body = (head, other_body) if column == "head" else (other_head, body)
    checksum = events.seal(
        b"second", received_at, flags, None, head=head, body_sha256=sha256(body).digest()
    )
    file.execute(
        "UPDATE events SET head = ?, body = ?, seal = ? WHERE id = 'second'", (head, body, checksum)
    )
    claimed = await take(spool)
    assert [lease.event.id for lease in claimed.leases] == ["first"]
    assert claimed.damaged == ("second",)
    await spool.close()


async def test_damage_to_a_sealed_answer_or_refusal_hides_no_other(
    path: Path, file: apsw.Connection
) -> None:
    spool = await opened(path)
    await fill(spool, ManualClock(RECEIVED))
    flipped(file, "attempts", "answer", 15)
    flipped(file, "refusals", "headers", 5)
    assert [each.answer for each in await spool.attempts("first")] == [None]
    [listed] = (await spool.refusals.page(RefusalQuery())).refusals
    assert (listed.refused.id, listed.refused.head.headers.fields) == ("ref_001", ())
    with pytest.raises(SpoolUnavailable, match="the refusal ref_001 is damaged"):
        await spool.refusals.get("ref_001")
    await spool.close()


async def test_ids_keys_and_what_they_are_for_stay_readable(
    path: Path, file: apsw.Connection
) -> None:
    spool = await opened(path)
    await fill(spool, ManualClock(RECEIVED))
    found = (await spool.page(Query(key="order-1"))).records
    assert [(each.id, each.upstream, each.status) for each in found] == [
        ("first", "billing", Status.PENDING)
    ]
    assert file.execute("SELECT key FROM history WHERE id = 'first'").fetchall() == [("order-1",)]
    assert EVENT.headers.fields
    await spool.close()


@pytest.mark.proof
async def test_no_flipped_byte_of_a_sealed_file_is_read_as_if_it_were_sound(path: Path) -> None:
    spool = await opened(path)
    bodies = {f"e{number}": b"body %d " % number * 20 for number in range(20)}
    for event_id, body in bodies.items():
        await stored(spool, verified(event_id=event_id, key=event_id, body=body))
    await spool.close()
    whole, dice, wrong = path.read_bytes(), Random(7), []
    for _ in range(300):
        changed = bytearray(whole)
        place = dice.randrange(len(changed))
        changed[place] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        try:
            spool = await opened(path)
        except SpoolUnavailable:
            continue
        with suppress(SpoolUnavailable):
            events_read = [lease.event for lease in (await take(spool, 100)).leases]
            wrong += [(place, e.id) for e in events_read if e.body != bodies.get(e.id)]
        await spool.close()
    assert wrong == []
