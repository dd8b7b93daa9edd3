"""What the strangers in every spool keep to: subclass it and give a fixture `opener`."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool import Spool
from relay.spool.strangers import Stranger, StrangerLimits, StrangerQuery, StrangerStore
from tests.contracts.spool import Opener
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED

BOUNDS = StrangerLimits()
FEW = StrangerLimits(per_endpoint=10, total=25, fitted=2, frequent=3)


def seen(
    number: int,
    *,
    times: int = 1,
    fits: bool = False,
    seconds: float | None = None,
    endpoint: str = "shop",
) -> Stranger:
    """Return one of so many networks, seen that many seconds after the first."""
    at = RECEIVED + timedelta(seconds=number if seconds is None else seconds)
    network = f"192.0.2.{number}"
    return Stranger(endpoint, network, network, f"/{endpoint}", times, at, at, fits)


async def networks(store: StrangerStore, endpoint: str | None = "shop") -> list[str]:
    return [each.network for each in await store.find(StrangerQuery(endpoint, 1000))]


class StrangerContract:
    """Every promise of `StrangerStore`."""

    @pytest.fixture
    def opener(self) -> Opener:
        raise NotImplementedError

    @pytest.fixture
    async def spool(self, opener: Opener) -> AsyncIterator[Spool]:
        spool = await opener(ManualClock())
        yield spool
        await spool.close()

    @pytest.fixture
    def store(self, spool: Spool) -> StrangerStore:
        return spool.strangers

    async def test_what_is_known_of_a_network_adds_up(self, store: StrangerStore) -> None:
        first = seen(1)
        later = replace(
            seen(1, times=4, seconds=60), address="192.0.2.99", path="/later", signature_fits=True
        )
        await store.add([first], BOUNDS)
        await store.add([later, seen(1, seconds=30)], BOUNDS)
        [found] = await store.find(StrangerQuery())
        assert (found.times, found.first_at, found.last_at) == (6, first.first_at, later.last_at)
        assert found.signature_fits

    async def test_what_fitted_comes_first_then_the_last_seen(self, store: StrangerStore) -> None:
        await store.add(
            [seen(1), seen(2, fits=True), seen(3), seen(4, fits=True), seen(5, endpoint="other")],
            BOUNDS,
        )
        assert await networks(store) == [f"192.0.2.{number}" for number in (4, 2, 3, 1)]
        assert await networks(store, "none") == []
        assert len(await networks(store, None)) == 5
        assert len(await store.find(StrangerQuery(limit=2))) == 2
        with pytest.raises(ValueError, match="a limit is at least 1, not 0"):
            await store.find(StrangerQuery(limit=0))

    async def test_a_flood_leaves_what_fitted_and_what_comes_often(
        self, store: StrangerStore
    ) -> None:
        kept = [seen(1, fits=True), seen(2, fits=True), seen(3, times=50), seen(4, times=70)]
        await store.add(kept, FEW)
        for number in range(10, 250):
            await store.add([seen(number)], FEW)
        left = await networks(store)
        assert len(left) <= 11
        assert {each.network for each in kept} <= set(left)
        assert "192.0.2.249" in left

    async def test_what_fitted_may_flood_no_others_out_either(self, store: StrangerStore) -> None:
        await store.add([seen(3, times=50)], FEW)
        for number in range(10, 250):
            await store.add([seen(number, fits=True)], FEW)
        left = await networks(store)
        assert len(left) <= 11
        assert {"192.0.2.3", "192.0.2.249", "192.0.2.248"} <= set(left)

    async def test_a_flood_of_all_endpoints_leaves_what_few_ask_for(
        self, store: StrangerStore
    ) -> None:
        await store.add([seen(1, endpoint="quiet")], FEW)
        for number in range(200):
            await store.add([seen(number, endpoint=f"e{number % 5}")], FEW)
        assert len(await networks(store, None)) <= 26
        assert await networks(store, "quiet") == ["192.0.2.1"]

    async def test_those_that_came_no_more_are_removed(self, store: StrangerStore) -> None:
        await store.add([seen(number) for number in range(5)], BOUNDS)
        before = RECEIVED + timedelta(seconds=3)
        assert await store.prune(before, 2) == 2
        assert await store.prune(before, 2) == 1
        assert await store.prune(before, 2) == 0
        assert await networks(store) == ["192.0.2.4", "192.0.2.3"]

    async def test_they_are_there_after_a_restart(self, opener: Opener) -> None:
        first = await opener(ManualClock())
        await first.strangers.add([seen(1)], BOUNDS)
        await first.close()
        second = await opener(ManualClock())
        assert await second.strangers.find(StrangerQuery()) == (seen(1),)
        await second.close()

    async def test_a_closed_spool_says_so(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        await spool.close()
        with pytest.raises(SpoolUnavailable):
            await spool.strangers.add([seen(1)], BOUNDS)
        with pytest.raises(SpoolUnavailable):
            await spool.strangers.find(StrangerQuery())
