import asyncio
import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from relay.app.token_file import TokenFile
from tests.harness.clock import ManualClock

LIFE = timedelta(minutes=15)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access-tokens.json"


def issue(file: TokenFile, clock: ManualClock) -> str:
    return file.tokens.of("bank", "B1", LIFE).issue(clock.now())


def knows(file: TokenFile, token: str, clock: ManualClock) -> bool:
    return file.tokens.of("bank", "B1", LIFE).knows(token, clock.now())


async def test_what_was_issued_is_good_after_a_restart(path: Path, clock: ManualClock) -> None:
    before = TokenFile(path, clock)
    assert before.load() is None
    token = issue(before, clock)
    await before.save()
    after = TokenFile(path, clock)
    assert after.load() is None
    assert knows(after, token, clock)
    await clock.advance(LIFE.total_seconds())
    late = TokenFile(path, clock)
    assert late.load() is None
    assert not knows(late, token, clock)


async def test_no_token_stands_in_the_file(path: Path, clock: ManualClock) -> None:
    file = TokenFile(path, clock)
    token = issue(file, clock)
    await file.save()
    text = path.read_text()
    assert token not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tokens,) = json.loads(text)["endpoints"].values()
    assert [len(digest) for digest in tokens] == [64]


async def test_it_is_written_after_each_new_token_and_else_left_alone(
    path: Path, clock: ManualClock
) -> None:
    file = TokenFile(path, clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(file.run())
        await file.save()
        assert not path.exists()
        issue(file, clock)
        async with asyncio.timeout(10):
            while not path.exists():
                await asyncio.to_thread(lambda: None)
        running.cancel()
    assert [path.name for path in path.parent.iterdir()] == [path.name]


async def test_a_write_that_fails_is_told_and_made_again(path: Path, clock: ManualClock) -> None:
    told: list[str] = []
    file = TokenFile(path, clock, told.append)
    path.mkdir()
    token = issue(file, clock)
    await file.save()
    assert [str(path) in each for each in told] == [True]
    path.rmdir()
    await file.save()
    after = TokenFile(path, clock)
    after.load()
    assert knows(after, token, clock)


@pytest.mark.parametrize(
    "text",
    [
        *("", "no json", "[]", "{}", '{"version":2,"endpoints":{}}'),
        '{"version":1,"endpoints":{"bank":{"short":1}}}',
        '{"version":1,"endpoints":{"bank":{"%s":-1}}}' % ("0" * 64),
        '{"version":1,"endpoints":{"bank":{"%s":"1"}}}' % ("0" * 64),
        '{"version":1,"endpoints":{},"more":1}',
    ],
)
def test_a_file_that_is_none_is_ignored_and_says_why(
    path: Path, clock: ManualClock, text: str
) -> None:
    path.write_text(text)
    file = TokenFile(path, clock)
    problem = file.load()
    assert problem is not None
    assert problem.startswith(str(path))
    assert file.tokens.saved(clock.now()) == {}


def test_a_directory_in_its_place(path: Path, clock: ManualClock) -> None:
    path.mkdir()
    assert str(TokenFile(path, clock).load()).startswith(str(path))
