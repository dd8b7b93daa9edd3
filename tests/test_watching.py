"""Changes are noticed from the directory, whatever else lies there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from relay.clock import SystemClock
from relay.watching import watch


class Noticed:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.times = 0
        self._told = asyncio.Event()

    def __call__(self) -> None:
        self.times += 1
        self._told.set()

    async def again(self) -> None:
        async with asyncio.timeout(20):
            await self._told.wait()
        self._told.clear()


@asynccontextmanager
async def watching(files: Callable[[], Iterable[Path]]) -> AsyncIterator[Noticed]:
    noticed = Noticed()
    task = asyncio.ensure_future(watch(files, noticed, SystemClock()))
    # It has taken its first look, before anything is changed.
    await asyncio.sleep(0)
    yield noticed
    task.cancel()
    await asyncio.wait({task})


async def test_a_file_that_is_written_or_replaced_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text("one")
    async with watching(lambda: [path]) as noticed:
        path.write_text("two and more")
        await noticed.again()
        other = tmp_path / "next"
        other.write_text("three")
        other.replace(path)
        await noticed.again()


async def test_the_swap_of_a_link_on_the_way_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "relay.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    path = tmp_path / "relay.yaml"
    path.symlink_to("..data/relay.yaml")
    async with watching(lambda: [path]) as noticed:
        (tmp_path / "..next").symlink_to("two")
        (tmp_path / "..next").replace(tmp_path / "..data")
        await noticed.again()


async def test_what_else_changes_there_is_nothing_to_us(tmp_path: Path) -> None:
    path, database = tmp_path / "relay.yaml", tmp_path / "relay.db"
    path.write_text("one")
    async with watching(lambda: [path]) as noticed:
        for number in range(5):
            database.write_text(str(number))
        path.write_text("two and more")
        await noticed.again()
        assert noticed.times == 1


async def test_files_that_are_named_later_are_watched_too(tmp_path: Path) -> None:
    path, secret = tmp_path / "relay.yaml", tmp_path / "secrets" / "key"
    secret.parent.mkdir()
    path.write_text("one")
    secret.write_text("a")
    files = [path]
    async with watching(lambda: files) as noticed:
        files.append(secret)
        path.write_text("two and more")
        await noticed.again()
        secret.write_text("another")
        await noticed.again()
