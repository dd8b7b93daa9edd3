"""A system call on the spool's files fails: whatever it is, nothing is acknowledged falsely."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import pytest

from tests.crash import promises
from tests.crash.messages import Answered, Message, send, send_all, some
from tests.crash.small_disks import accepts_again
from tests.harness import traced_node
from tests.harness.deliveries import ENVIRON
from tests.harness.traced_node import WrappedNode

pytestmark = [pytest.mark.debian, pytest.mark.proof]

_LOG = ("relay.db-wal",)
_SOME_PLACES = (1, 7, 24)
_MANY_PLACES = [n for n in range(1, 51) if n not in _SOME_PLACES]
#: Files are opened all at once at the start; there is little behind that.
_FEW_PLACES = range(1, 9)


@dataclass(frozen=True, slots=True)
class Ordeal:
    """What came of a relay whose calls failed. `answered` is in the order of sending."""

    answered: list[Answered]
    code: int
    failed_calls: int
    complaints: list[str]

    @property
    def statuses(self) -> list[int]:
        return [each.status for each in self.answered]

    @property
    def after_the_refusal(self) -> list[int]:
        """The statuses from the first one on that was no success."""
        return list(dropwhile(lambda status: status == 200, self.statuses))

    @property
    def first_refusal(self) -> int | None:
        return next(iter(self.after_the_refusal), None)


async def ordeal(
    config: Path,
    calls: str,
    fault: str,
    files: Sequence[str] = _LOG,
    wanted: Sequence[Message] = (),
    *,
    heals: bool = False,
) -> Ordeal:
    """Send messages, one after the other, to a relay whose calls fail; stop it if it still runs.

    Its tables are made before that, so the fault hits a relay at work. Then all that was
    acknowledged is looked for.

    heals: in the end it must take something again, and soon.
    """
    traced_node.strace_needed()
    directory = config.parent
    await promises.empty(directory / "relay.db")
    log = directory / "trace"
    paths = [directory / name for name in files]
    node = WrappedNode(config, ENVIRON, prefix=traced_node.failing(log, calls, fault, paths))
    answered: list[Answered] = []
    try:
        await node.launch()
        listening = await node.listening()
        if listening:
            for message in wanted:
                answered.append(await send(node.public[0], message))
                if answered[-1].status == 0:
                    break
            if heals:
                answered += await accepts_again(node.public[0], iter(some(500, seed=2)))
        # A signal to a process that is just ending would hide its exit code.
        ending = not listening or 0 in {each.status for each in answered}
        code = await (node.ended() if ending else node.end())
    finally:
        await node.end(signal.SIGKILL)
    await traced_node.finished(log)
    promised = [each.message for each in answered if each.acknowledged]
    found = await promises.bodies(directory / "relay.db")
    assert promises.lost(found, [(each.name, each.body) for each in promised]) == []
    assert promises.sound(directory / "relay.db", thoroughly=True) == "ok"
    return Ordeal(answered, code, traced_node.injected(log), node.noise)


async def _failed_sync(config: Path, place: int) -> None:
    result = await ordeal(config, "fdatasync,fsync", f"error=EIO:when={place}", wanted=some(100))
    assert result.failed_calls == 1
    # Where the call was one of delivery's, whoever comes next finds nobody.
    assert result.first_refusal in {502, 0}
    assert 200 not in result.after_the_refusal
    assert result.code == 1
    assert any("needs a restart" in line for line in result.complaints)


@pytest.mark.parametrize("place", _SOME_PLACES)
async def test_a_failed_sync_ends_the_relay_and_nothing_more_is_acknowledged(
    config: Path, place: int
) -> None:
    await _failed_sync(config, place)


@pytest.mark.long
@pytest.mark.parametrize("place", _MANY_PLACES)
async def test_wherever_a_sync_fails(config: Path, place: int) -> None:
    await _failed_sync(config, place)


async def _failed_write(config: Path, place: int) -> None:
    result = await ordeal(config, "pwrite64", f"error=EIO:when={place}", wanted=some(50))
    assert result.failed_calls == 1
    # Where the call was one of delivery's, whoever comes next finds nobody.
    assert result.first_refusal in {502, 0}
    assert 200 not in result.after_the_refusal
    assert result.code == 1


@pytest.mark.parametrize("place", _SOME_PLACES)
async def test_a_failed_write_ends_the_relay_and_nothing_more_is_acknowledged(
    config: Path, place: int
) -> None:
    await _failed_write(config, place)


@pytest.mark.long
@pytest.mark.parametrize("place", _MANY_PLACES)
async def test_wherever_a_write_fails(config: Path, place: int) -> None:
    await _failed_write(config, place)


async def _no_room(config: Path, place: int) -> None:
    fault = f"error=ENOSPC:when={place}..{place + 9}"
    result = await ordeal(config, "pwrite64", fault, wanted=some(60), heals=True)
    assert result.failed_calls >= 1
    assert set(result.statuses) == {200, 502}
    # Room again, and work again.
    assert result.statuses[-1] == 200
    assert result.code == 0


@pytest.mark.parametrize("place", _SOME_PLACES)
async def test_no_room_refuses_patiently_and_passes(config: Path, place: int) -> None:
    await _no_room(config, place)


@pytest.mark.long
@pytest.mark.parametrize("place", _MANY_PLACES)
async def test_wherever_there_is_no_room(config: Path, place: int) -> None:
    await _no_room(config, place)


async def _no_descriptor(config: Path, place: int) -> None:
    files = ("relay.db", "relay.db-wal", "relay.db-shm")
    result = await ordeal(
        config, "openat", f"error=EMFILE:when={place}..{place + 2}", files, some(5)
    )
    if result.answered:
        assert set(result.statuses) <= {200, 502}
        assert result.code == 0
    else:
        # It could not start, and said why.
        assert result.code == 1
        assert any("spool" in line for line in result.complaints)


@pytest.mark.parametrize("place", [1, 3])
async def test_a_file_that_cannot_be_opened_is_no_false_success(config: Path, place: int) -> None:
    await _no_descriptor(config, place)


@pytest.mark.long
@pytest.mark.parametrize("place", _FEW_PLACES)
async def test_whichever_file_cannot_be_opened(config: Path, place: int) -> None:
    await _no_descriptor(config, place)


@pytest.mark.parametrize("calls", ["pwrite64", "fdatasync"])
async def test_a_log_that_cannot_be_moved_into_the_database_stays(config: Path, calls: str) -> None:
    """On stopping, SQLite moves its log into the database and removes it. Here it cannot."""
    result = await ordeal(config, calls, "error=EIO:when=1", ("relay.db",), some(10))
    assert result.failed_calls == 1
    assert result.statuses == [200] * 10


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("calls", ["pwrite64", "fdatasync"])
async def test_a_checkpoint_that_fails_ends_the_relay(config: Path, calls: str) -> None:
    """At work, the log is moved into the database when it has grown; here that fails."""
    result = await ordeal(config, calls, "error=EIO:when=1", ("relay.db",), some(900))
    assert result.failed_calls == 1
    assert result.code == 1
    assert 0 < result.statuses.count(200) < 900


async def test_many_senders_at_once_get_no_false_success_either(config: Path) -> None:
    """The failed sync is of a commit that many wait for."""
    traced_node.strace_needed()
    log, spool = config.parent / "trace", config.parent / "relay.db"
    fault = traced_node.failing(
        log, "fdatasync", "error=EIO:when=12", [spool.with_name("relay.db-wal")]
    )
    node = WrappedNode(config, ENVIRON, prefix=fault)
    async with node:
        answered = await send_all(node.public[0], some(300), at_once=30)
        assert await node.ended() == 1
    promised = [each.message for each in answered if each.acknowledged]
    found = await promises.bodies(spool)
    assert promises.lost(found, [(each.name, each.body) for each in promised]) == []
    assert 0 < len(promised) < 300
