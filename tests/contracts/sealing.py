"""What a spool whose content is sealed keeps to: subclass it and give a fixture `open_with`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.core.event import Delivered, Done, Rejected, RetryAt, Status
from relay.core.request import Headers, Keep
from relay.core.sealing import SealingKey
from relay.core.secret import Secret
from relay.spool import Duplicate, Settlement, Spool
from relay.spool.history import Query
from relay.spool.refusals import RefusalLimits, RefusalQuery
from relay.spool.sealing import KeyMissing
from tests.contracts.refusals import refused
from tests.contracts.spool import (
    LINKED,
    finish,
    masked_event,
    passed,
    record,
    stored,
    take,
    take_one,
)
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified

K0, K1, K2 = (SealingKey(Secret(digit * 64)) for digit in "012")

#: Opens one more spool, with these keys, on a store that was empty when the test began.
OpenWith = Callable[[Clock, Sequence[SealingKey]], Awaitable[Spool]]

#: The same, closed at the end.
Opens = Callable[..., AbstractAsyncContextManager[Spool]]

CANARY: Final = "canary-5e41"
EVENT = verified(
    event_id="first",
    body=b'{"card": "canary-5e41"}',
    headers=Headers((("X-Card", CANARY), ("X-Name", "caf\xe9"))),
    path=f"/midtrans/notification/v1?card={CANARY}",
    remainder="/v1",
)


async def attempt(spool: Spool, answer: bytes, clock: ManualClock) -> None:
    """Claim one event, and settle an attempt that was answered so."""
    lease = await take_one(spool)
    ended: asyncio.Future[Sequence[bool] | SpoolUnavailable] = asyncio.Future()
    again = RetryAt(clock.steady())
    spool.settle_all([Settlement(lease, again, Rejected(500), 1500, answer)], ended.set_result)
    assert await ended == [True]


async def fill(spool: Spool, clock: ManualClock) -> None:
    """Store an event, an attempt, a delivery that was passed on, and a refusal."""
    await stored(spool, EVENT)
    await attempt(spool, b"sorry, " + CANARY.encode(), clock)
    other = verified(event_id="second", key="2", body=EVENT.delivery.body, headers=EVENT.headers)
    await spool.record_proxied([passed(spool, other)])
    await spool.refusals.keep([refused(1, body=CANARY.encode())], RefusalLimits())


async def check(spool: Spool) -> None:
    """Check that all of that can be read as it was."""
    found = await spool.get("first")
    assert found is not None
    assert found[1] is not None
    event = found[1]
    said = (event.body, event.headers, event.suffix)
    assert said == (EVENT.delivery.body, EVENT.headers, EVENT.delivery.suffix)
    assert [each.answer for each in await spool.attempts("first")] == [b"sorry, canary-5e41"]
    proxied = await spool.get("second")
    assert proxied is not None
    assert proxied[1] is not None
    assert (proxied[1].body, proxied[1].headers) == (EVENT.delivery.body, EVENT.headers)
    expected = refused(1, body=CANARY.encode())
    kept = await spool.refusals.get("ref_001")
    assert kept is not None
    assert kept.refused == expected
    [listed] = (await spool.refusals.page(RefusalQuery())).refusals
    assert listed.refused.head == expected.head


class SealingContract:
    """Every promise of `SealingStore`, and of what is sealed."""

    @pytest.fixture
    def open_with(self) -> OpenWith:
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(RECEIVED)

    @pytest.fixture
    def opens(self, open_with: OpenWith, clock: ManualClock) -> Opens:
        @asynccontextmanager
        async def opened(*keys: SealingKey) -> AsyncIterator[Spool]:
            spool = await open_with(clock, keys)
            try:
                yield spool
            finally:
                await spool.close()

        return opened

    # ---- keys ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("keys", [[K0], [K1, K0]])
    async def test_what_is_sealed_is_read_with_its_key_wherever_that_stands(
        self, opens: Opens, clock: ManualClock, keys: list[SealingKey]
    ) -> None:
        async with opens(K0) as spool:
            await fill(spool, clock)
            await check(spool)
        async with opens(*keys) as spool:
            await check(spool)
            assert (await take_one(spool)).event.body == EVENT.delivery.body

    async def test_the_first_key_writes_and_each_row_keeps_its_own(
        self, opens: Opens, clock: ManualClock
    ) -> None:
        async with opens(K0) as spool:
            await fill(spool, clock)
            assert await spool.sealing.rows() == {K0.fingerprint: 4}
            await spool.sealing.use([K1, K0])
            await stored(spool, verified(key="3", event_id="third"))
            assert await spool.sealing.rows() == {K0.fingerprint: 4, K1.fingerprint: 1}
            await check(spool)

    async def test_what_is_plain_stays_so_and_is_read_beside_what_is_sealed(
        self, opens: Opens, clock: ManualClock
    ) -> None:
        async with opens() as spool:
            await fill(spool, clock)
        async with opens(K0) as spool:
            await check(spool)
            assert await spool.sealing.rows() == {K0.fingerprint: 0}
            await stored(spool, verified(key="3"))
            assert len((await take(spool)).leases) == 2
            with pytest.raises(KeyMissing):
                await spool.sealing.use([])
        with pytest.raises(KeyMissing):
            async with opens():
                pass

    # ---- keys that are not named --------------------------------------------------------------

    @pytest.mark.parametrize("keys", [[], [K1], [K2, K1]])
    async def test_a_spool_is_not_opened_while_rows_need_another_key(
        self, opens: Opens, clock: ManualClock, keys: list[SealingKey]
    ) -> None:
        async with opens(K0) as spool:
            await fill(spool, clock)
        told = f"^4 rows of the spool are sealed with the key {K0.fingerprint}, "
        with pytest.raises(KeyMissing, match=told):
            async with opens(*keys):
                pass
        async with opens(K0) as spool:
            await check(spool)

    async def test_keys_are_not_exchanged_while_rows_need_another_one(
        self, opens: Opens, clock: ManualClock
    ) -> None:
        async with opens(K0) as spool:
            await stored(spool, verified(event_id="first"))
            told = f"^1 row of the spool is sealed with the key {K0.fingerprint}, which"
            with pytest.raises(KeyMissing, match=told):
                await spool.sealing.use([K1])
            await stored(spool, verified(key="2"))
            assert await spool.sealing.rows() == {K0.fingerprint: 2}
            assert len((await take(spool)).leases) == 2

    async def test_a_key_that_no_row_needs_any_more_may_go(
        self, opens: Opens, clock: ManualClock
    ) -> None:
        async with opens(K0) as spool:
            await stored(spool, verified())
            await finish(spool)
            later = RECEIVED + timedelta(days=1)
            assert await spool.prune(later, RECEIVED, 10) == 1
            with pytest.raises(KeyMissing):
                await spool.sealing.use([K1])
            assert await spool.prune(later, later, 10) == 1
            await spool.refusals.keep([refused(1)], RefusalLimits())
            await spool.refusals.mark_released("ref_001", "evt", clock.now())
            await spool.sealing.use([K1])
            await spool.sealing.use([])
            await stored(spool, verified(key="2"))
        async with opens() as spool:
            assert len((await take(spool)).leases) == 1

    async def test_what_is_not_kept_needs_no_key(self, opens: Opens) -> None:
        event = replace(verified(), keep=Keep.NONE)
        async with opens(K0) as spool:
            await stored(spool, event)
            assert await spool.sealing.rows() == {K0.fingerprint: 1}
            await finish(spool)
            other = replace(event, event_id="other")
            await spool.record_proxied([passed(spool, other)])
            assert await spool.sealing.rows() == {K0.fingerprint: 0}
        async with opens() as spool:
            assert (await spool.put(verified())) == Duplicate(event.event_id)
            assert not (await record(spool, "other")).damaged

    async def test_an_event_whose_key_is_not_named_waits_for_it_and_is_not_damaged(
        self, opens: Opens, clock: ManualClock
    ) -> None:
        async with opens(K0) as spool, opens(K1, K0) as other:
            await stored(spool, verified(event_id="ours"))
            await stored(other, verified(key="2", event_id="theirs"))
            claimed = await take(spool)
            assert [lease.event.id for lease in claimed.leases] == ["ours"]
            assert claimed.damaged == ()
            await spool.settle(claimed.leases[0], Done(), Delivered(200))
            [(waiting, missing)] = claimed.locked
            assert (waiting, K1.fingerprint in str(missing)) == ("theirs", True)
            with pytest.raises(KeyMissing):
                await spool.get("theirs")
            assert (await record(other, "theirs")).status is Status.PENDING
            assert (await take(spool)).locked == ()
            await spool.sealing.use([K0, K1])
            await clock.advance(60)
            lease = await take_one(spool)
            assert (lease.event.id, lease.attempt) == ("theirs", 1)
            await spool.settle(lease, Done(), Delivered(200))

    async def test_what_is_requeued_has_to_be_readable(self, opens: Opens) -> None:
        async with opens(K0) as spool, opens(K1, K0) as other:
            await stored(other, verified(event_id="theirs"))
            await finish(other)
            with pytest.raises(KeyMissing, match=K1.fingerprint):
                await spool.requeue(Query(ids=("theirs",)))
            assert (await other.requeue(Query(ids=("theirs",)))).ids == ("theirs",)

    async def test_tokens_are_masked_under_the_key_of_their_event(
        self, opens: Opens, clock: ManualClock
    ) -> None:
        async with opens(K0) as spool:
            await stored(spool, replace(LINKED, event_id="linked"))
            await spool.sealing.use([K1, K0])
            assert await spool.expire_tokens(RECEIVED + timedelta(days=1), 10) == 1
            assert await masked_event(spool, "linked")
            assert await spool.sealing.rows() == {K0.fingerprint: 1, K1.fingerprint: 0}

    async def test_tokens_under_a_key_that_is_not_named_are_left_to_who_has_it(
        self, opens: Opens
    ) -> None:
        async with opens(K0) as spool, opens(K1, K0) as other:
            await stored(other, replace(LINKED, event_id="linked"))
            later = RECEIVED + timedelta(days=1)
            assert await spool.expire_tokens(later, 10) == 0
            assert await other.expire_tokens(later, 10) == 1
            assert await masked_event(other, "linked")

    # ---- copies -------------------------------------------------------------------------------

    async def test_a_copy_of_an_event_under_another_key_is_a_duplicate_and_leaves_it(
        self, opens: Opens, clock: ManualClock
    ) -> None:
        async with opens(K0) as spool, opens(K1, K0) as other:
            await stored(other, verified(event_id="theirs"))
            result = await spool.put(verified())
            assert result.id == "theirs"
            assert await other.sealing.rows() == {K0.fingerprint: 0, K1.fingerprint: 1}
            assert (await take_one(other)).event.id == "theirs"

    async def test_a_copy_brings_back_a_body_under_the_key_that_writes(
        self, opens: Opens, clock: ManualClock
    ) -> None:
        async with opens(K0) as spool:
            await stored(spool, verified(event_id="first"))
            await finish(spool)
            later = RECEIVED + timedelta(days=1)
            assert await spool.prune(later, RECEIVED, 10) == 1
            await spool.sealing.use([K1, K0])
            await spool.put(verified())
            assert await spool.sealing.rows() == {K0.fingerprint: 0, K1.fingerprint: 1}
            found = await spool.get("first")
            assert found is not None
            assert found[1] is not None
            assert found[1].body == verified().delivery.body
