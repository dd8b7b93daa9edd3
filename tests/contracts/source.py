"""What every address source keeps to, in whatever state the world is."""

import asyncio
from ipaddress import ip_address

import pytest

from relay.allowlist import AddressSource
from relay.allowlist.networks import special


class SourceContract:
    """Subclass it and give a fixture `source`."""

    @pytest.fixture
    def source(self) -> AddressSource:
        raise NotImplementedError

    async def test_reading_waits_for_nothing_and_raises_nothing(
        self, source: AddressSource
    ) -> None:
        assert source.status().addresses == len(source.entries())
        assert source.status().name

    async def test_the_generation_stands_while_nothing_is_looked_up(
        self, source: AddressSource
    ) -> None:
        generation = source.generation
        assert source.entries() == source.entries()
        assert source.generation == generation

    async def test_the_generation_grows_with_the_networks(self, source: AddressSource) -> None:
        before, generation = {entry.network for entry in source.entries()}, source.generation
        await source.refresh()
        changed = {entry.network for entry in source.entries()} != before
        assert (source.generation > generation) == changed

    async def test_refresh_raises_nothing(self, source: AddressSource) -> None:
        await source.refresh()
        await source.refresh()

    async def test_many_may_refresh_at_once(self, source: AddressSource) -> None:
        await asyncio.gather(*(source.refresh() for _ in range(20)))

    async def test_run_ends_by_cancellation_only_or_at_once(self, source: AddressSource) -> None:
        running = asyncio.ensure_future(source.run())
        await source.refresh()
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled() or running.exception() is None

    async def test_it_survives_that_who_refreshes_gives_up(self, source: AddressSource) -> None:
        impatient = asyncio.ensure_future(source.refresh())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait({impatient})
        await source.refresh()
        assert source.status().addresses == len(source.entries())

    async def test_every_entry_says_where_it_is_known_from(self, source: AddressSource) -> None:
        await source.refresh()
        assert all(entry.origin for entry in source.entries())

    async def test_what_came_from_dns_is_an_address_on_the_internet(
        self, source: AddressSource
    ) -> None:
        await source.refresh()
        for entry in source.entries():
            if entry.host is not None:
                assert entry.network.size == 1
                assert special(ip_address(str(entry.network.ip))) is None
