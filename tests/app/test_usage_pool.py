"""Parts are reused while what they are made from is equal, and closed when nothing uses them."""

from collections.abc import Mapping

import pytest

from relay.app.usage_pool import Close, Entry, Usage, UsagePool


class Maker:
    """Makes parts and knows which are closed."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.closed: list[str] = []

    def make(self, name: str, description: int) -> tuple[str, Close]:
        if description < 0:
            raise ValueError(name)
        part = f"{name}{description}"
        self.made.append(part)

        async def close() -> None:
            self.closed.append(part)

        return part, close


def acquire(pool: UsagePool[int, str], wanted: Mapping[str, int]) -> dict[str, Entry[int, str]]:
    return {name: pool.acquire(name, key) for name, key in wanted.items()}


async def test_only_what_differs_is_made_anew() -> None:
    maker = Maker()
    pool: UsagePool[int, str] = UsagePool(maker.make)
    pool.activate(acquire(pool, {"a": 1, "b": 1}))
    after = acquire(pool, {"a": 1, "b": 2, "c": 1})
    assert {name: entry.part for name, entry in after.items()} == {
        "a": "a1",
        "b": "b2",
        "c": "c1",
    }
    assert maker.made == ["a1", "b1", "b2", "c1"]
    pool.activate(after)
    assert [entry.part for entry in pool.retired()] == ["b1"]
    assert maker.closed == []
    await pool.close(pool.retired())
    assert maker.closed == ["b1"]
    await pool.close()
    assert sorted(maker.closed) == ["a1", "b1", "b2", "c1"]


async def test_what_was_made_for_nothing_can_be_closed() -> None:
    maker = Maker()
    pool: UsagePool[int, str] = UsagePool(maker.make)
    pool.activate(acquire(pool, {"a": 1}))
    with pytest.raises(ValueError, match="c"):
        acquire(pool, {"a": 2, "b": 1, "c": -1})
    await pool.close(pool.retired())
    assert sorted(maker.closed) == ["a2", "b1"]
    assert [entry.part for entry in pool.retired()] == []


async def test_a_configuration_uses_several_pools_and_leaves_the_rest_retired() -> None:
    maker = Maker()
    pools: list[UsagePool[int, str]] = [UsagePool(maker.make), UsagePool(maker.make)]
    first, second = Usage(pools), Usage(pools)
    assert [first.acquire(pool, "a", 1) for pool in pools] == ["a1", "a1"]
    first.activate()
    assert second.acquire(pools[0], "a", 1) == "a1"
    assert maker.made == ["a1", "a1"]
    assert [pool.retired() for pool in pools] == [[], []]
    # Of the other pool it uses nothing.
    second.activate()
    assert [[entry.part for entry in pool.retired()] for pool in pools] == [[], ["a1"]]
