import asyncio
import errno
import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.allowlist import Change
from relay.allowlist.dns_cache import DnsCache
from relay.allowlist.dns_source import MAX_OF_HOST, HostChange, HostState, KnownAddress
from relay.core.request import Address
from tests.harness.clock import ManualClock

A_DIRECTORY = os.strerror(errno.EISDIR)
NOT_THERE = os.strerror(errno.ENOENT)

HOST = "callback-1.example.org"
GOOD: Address = ip_address("104.45.17.199")
SIX: Address = ip_address("2a01:111::1")
MAX_STALE = timedelta(hours=72)
HOUR = 3600.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dns.json"


def cache(path: Path, clock: ManualClock) -> DnsCache:
    return DnsCache(path, MAX_STALE, clock)


def record(clock: ManualClock, *addresses: Address, ago: float = 0.0) -> HostState:
    then = clock.monotonic() - ago
    return HostState({address: KnownAddress(then) for address in addresses}, then)


async def saved(path: Path, clock: ManualClock, what: HostState) -> None:
    one = cache(path, clock)
    one.put(HOST, what)
    await one.save()
    assert one.problem is None


def loaded(path: Path, clock: ManualClock) -> HostState:
    one = cache(path, clock)
    assert one.load() is None
    return one.get(HOST)


def file(answered: str = "2026-01-05T11:00:00Z", **changes: Any) -> dict[str, Any]:
    address = {"address": str(GOOD), "seen_at": answered, "missing_seconds": 0.0} | changes
    return {"version": 1, "hosts": {HOST: {"answered_at": answered, "addresses": [address]}}}


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks and threads run until this holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.to_thread(lambda: None)


# ---- there and back ---------------------------------------------------------------------------


async def test_what_was_saved_is_known_after_a_restart(path: Path, clock: ManualClock) -> None:
    now = clock.monotonic()
    known = {GOOD: KnownAddress(now - 60, 12 * HOUR), SIX: KnownAddress(now - 30)}
    await saved(path, clock, HostState(known, now - 30))

    later = ManualClock(clock.now() + timedelta(hours=10))
    revived = loaded(path, later)
    assert revived.known == {
        GOOD: KnownAddress(later.monotonic() - 60 - 10 * HOUR, 12 * HOUR),
        SIX: KnownAddress(later.monotonic() - 30 - 10 * HOUR),
    }
    assert revived.answered_at == later.monotonic() - 30 - 10 * HOUR
    # What happened while it was off counts for nothing.
    assert revived.family_answered_at == {}


async def test_proofs_and_the_time_of_an_addition_survive_a_restart(
    path: Path, clock: ManualClock
) -> None:
    now = clock.monotonic()
    known = {
        GOOD: KnownAddress(now, proven=True),
        SIX: KnownAddress(now, added_at=now - HOUR),
    }
    await saved(path, clock, HostState(known, now))
    later = ManualClock(clock.now() + timedelta(hours=2))
    revived = loaded(path, later).known
    assert (revived[GOOD].proven, revived[GOOD].added_at) == (True, None)
    assert (revived[SIX].proven, revived[SIX].added_at) == (False, later.monotonic() - 3 * HOUR)


async def test_changes_and_the_first_time_survive_a_restart(path: Path, clock: ManualClock) -> None:
    now = clock.monotonic()
    known = {GOOD: KnownAddress(now, first_seen=now - HOUR)}
    history = (HostChange(now - HOUR, Change.REMOVED, SIX),)
    await saved(path, clock, HostState(known, now, history=history))
    later = ManualClock(clock.now() + timedelta(hours=2))
    revived = loaded(path, later)
    assert revived.known[GOOD].first_seen == later.monotonic() - 3 * HOUR
    assert revived.history == (HostChange(later.monotonic() - 3 * HOUR, Change.REMOVED, SIX),)


async def test_a_new_proof_is_written(path: Path, clock: ManualClock) -> None:
    now = clock.monotonic()
    cache = DnsCache(path, timedelta(hours=72), clock)
    cache.put(HOST, HostState({GOOD: KnownAddress(now)}, now))
    await cache.save()
    cache.put(HOST, HostState({GOOD: KnownAddress(now, proven=True)}, now))
    await cache.save()
    assert loaded(path, clock).known[GOOD].proven


async def test_a_file_of_the_version_before_is_read(path: Path, clock: ManualClock) -> None:
    path.write_text(json.dumps(file()))
    (known,) = loaded(path, clock).known.values()
    assert (known.added_at, known.proven) == (None, False)


async def test_the_file_is_readable_by_its_owner_only(path: Path, clock: ManualClock) -> None:
    await saved(path, clock, record(clock, GOOD))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["dns.json"]


async def test_a_file_of_somebody_elses_mode_is_replaced(path: Path, clock: ManualClock) -> None:
    path.write_text("{}")
    path.chmod(0o644)
    await saved(path, clock, record(clock, GOOD))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_hosts_that_are_no_longer_followed_are_kept_until_they_are_stale(
    path: Path, clock: ManualClock
) -> None:
    await saved(path, clock, record(clock, GOOD))
    other = cache(path, clock)
    other.load()
    other.put("callback-2.example.org", record(clock, SIX))
    await other.save()
    assert loaded(path, clock).known.keys() == {GOOD}

    await clock.advance(73 * HOUR)
    other.put("callback-2.example.org", record(clock, SIX))
    await other.save()
    assert list(json.loads(path.read_text())["hosts"]) == ["callback-2.example.org"]


# ---- what is not believed ---------------------------------------------------------------------


def test_that_there_is_no_file_is_nothing_to_report(path: Path, clock: ManualClock) -> None:
    assert loaded(path, clock) == HostState()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"version": 2, "hosts": {}}',
        b"[" * 100_000,
        json.dumps(file(address="nonsense")).encode(),
        json.dumps(file(address="fe80::1%eth0")).encode(),
        json.dumps(file(address=17)).encode(),
        json.dumps(file(seen_at="yesterday")).encode(),
        json.dumps(file(seen_at="2026-01-05T11:00:00")).encode(),
        json.dumps(file(missing_seconds=-1)).encode(),
        json.dumps(file(missing_seconds=float("nan"))).encode(),
        json.dumps(file(missing_seconds=float("inf"))).encode(),
        json.dumps(file(more="?")).encode(),
        json.dumps(file())[:-4].encode(),
    ],
)
def test_a_broken_file_is_ignored_and_the_reason_told(
    content: bytes, path: Path, clock: ManualClock
) -> None:
    path.write_bytes(content)
    one = cache(path, clock)
    reason = one.load()
    assert reason is not None
    assert reason.startswith(f"{path}: ")
    assert one.get(HOST) == HostState()


def test_a_directory_in_its_place_is_ignored_and_the_reason_told(
    path: Path, clock: ManualClock
) -> None:
    path.mkdir()
    assert cache(path, clock).load() == f"{path}: {A_DIRECTORY}"


@given(st.binary(max_size=300))
def test_no_content_makes_loading_raise(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    assert cache(path, ManualClock()).load() is not None


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "fe80::1", "::ffff:104.45.17.199"])
def test_an_address_no_sender_can_have_is_left_out(
    address: str, path: Path, clock: ManualClock
) -> None:
    content = file()
    content["hosts"][HOST]["addresses"].append(
        {"address": address, "seen_at": "2026-01-05T11:00:00Z", "missing_seconds": 0}
    )
    path.write_text(json.dumps(content))
    assert loaded(path, clock).known.keys() == {GOOD}


def test_no_more_addresses_are_read_than_a_host_can_have(path: Path, clock: ManualClock) -> None:
    elevenish = datetime(2026, 1, 5, 11, tzinfo=UTC)
    content = file()
    content["hosts"][HOST]["addresses"] = [
        {
            "address": str(ip_address(0x14000000 + number)),
            "seen_at": (elevenish - timedelta(seconds=number)).isoformat(),
            "missing_seconds": 0,
        }
        for number in range(MAX_OF_HOST + 50)
    ]
    path.write_text(json.dumps(content))
    known = loaded(path, clock).known
    assert len(known) == MAX_OF_HOST
    assert ip_address(0x14000000) in known


# ---- time -------------------------------------------------------------------------------------


async def test_a_host_older_than_72_hours_is_dropped(path: Path, clock: ManualClock) -> None:
    await saved(path, clock, record(clock, GOOD))
    at_72 = ManualClock(clock.now() + MAX_STALE)
    assert loaded(path, at_72).known.keys() == {GOOD}
    past_72 = ManualClock(clock.now() + MAX_STALE + timedelta(seconds=1))
    assert loaded(path, past_72) == HostState()


async def test_a_clock_set_back_makes_nothing_immortal_and_nothing_dead(
    path: Path, clock: ManualClock
) -> None:
    await saved(path, clock, record(clock, GOOD))
    set_back = ManualClock(clock.now() - timedelta(days=3650))
    revived = loaded(path, set_back)
    assert revived == record(set_back, GOOD)

    # It is written with times of the new clock, and dies 72 hours from here.
    await saved(path, set_back, revived)
    assert loaded(path, ManualClock(set_back.now() + timedelta(hours=73))) == HostState()


async def test_a_clock_that_jumps_while_running_does_not_change_ages(
    path: Path, clock: ManualClock
) -> None:
    known = record(clock, GOOD, ago=HOUR)
    clock.jump(-timedelta(days=400))
    await saved(path, clock, known)
    assert loaded(path, clock) == known


# ---- when it is written -----------------------------------------------------------------------


async def test_it_is_written_when_addresses_change_and_not_for_every_look(
    path: Path, clock: ManualClock
) -> None:
    one = cache(path, clock)
    one.put(HOST, record(clock, GOOD))
    await one.save()
    path.unlink()

    await clock.advance(300)
    one.put(HOST, record(clock, GOOD))
    await one.save()
    assert not path.exists()

    one.put(HOST, record(clock, GOOD, SIX))
    await one.save()
    assert loaded(path, clock).known.keys() == {GOOD, SIX}
    path.unlink()

    # That it was all confirmed is written now and then.
    await clock.advance(600)
    one.put(HOST, record(clock, GOOD, SIX))
    await one.save()
    assert loaded(path, clock) == record(clock, GOOD, SIX)


async def test_what_was_just_loaded_is_not_written_again(path: Path, clock: ManualClock) -> None:
    await saved(path, clock, record(clock, GOOD))
    one = cache(path, clock)
    one.load()
    path.unlink()
    one.put(HOST, one.get(HOST))
    await one.save()
    assert not path.exists()


async def test_a_failed_write_is_told_and_tried_again_in_a_minute(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "missing" / "dns.json"
    one = cache(path, clock)
    running = asyncio.ensure_future(one.run())
    one.put(HOST, record(clock, GOOD))
    await until(lambda: one.problem is not None)
    assert one.problem == f"{path}: {NOT_THERE}"

    path.parent.mkdir()
    await until(lambda: clock.sleeping == 1)
    await clock.advance(60)
    await until(lambda: one.problem is None)
    assert loaded(path, clock).known.keys() == {GOOD}
    running.cancel()
    await asyncio.wait({running})


async def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    path: Path, clock: ManualClock
) -> None:
    path.mkdir()  # a rename onto a directory fails after the new file was written
    one = cache(path, clock)
    one.put(HOST, record(clock, GOOD))
    await one.save()
    assert one.problem is not None
    assert [each.name for each in path.parent.iterdir()] == ["dns.json"]


async def test_run_writes_what_it_is_given(path: Path, clock: ManualClock) -> None:
    one = cache(path, clock)
    running = asyncio.ensure_future(one.run())
    one.put(HOST, record(clock, GOOD))
    await until(path.exists)
    assert loaded(path, clock).known.keys() == {GOOD}
    running.cancel()
    await asyncio.wait({running})


async def test_who_asked_hears_of_every_failed_write(tmp_path: Path, clock: ManualClock) -> None:
    told: list[str] = []
    one = DnsCache(tmp_path / "gone" / "dns.json", MAX_STALE, clock, told.append)
    one.put(HOST, record(clock, GOOD))
    await one.save()
    assert told == [one.problem]
    assert NOT_THERE in told[0]


async def test_a_date_before_all_dates_does_no_harm(path: Path, clock: ManualClock) -> None:
    path.write_text(json.dumps(file(seen_at="0001-01-01T00:00:00Z")))
    one = cache(path, clock)
    assert one.load() is None
    one.put(HOST, record(clock, GOOD, SIX))
    await one.save()
    assert one.problem is None
