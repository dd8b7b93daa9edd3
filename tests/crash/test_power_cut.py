"""What was acknowledged is there after a power cut at any moment, whatever the disk had kept back.

The calls of a relay that lives twice (killed once, stopped once) are replayed on a disk that keeps
only what was synced. The same with a spool that does not sync must lose events, or this proves
nothing.
"""

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from relay.core.errors import SpoolUnavailable
from tests.crash import promises
from tests.crash.disk_model import Disk, Fate
from tests.crash.lengths import lengths
from tests.crash.messages import some
from tests.crash.promises import delivered_in_the_end
from tests.crash.traces import (
    CONTROL,
    Trace,
    TracedRun,
    answers,
    directory_synced,
    trace,
    unsynced,
)
from tests.harness.deliveries import configuration
from tests.harness.spool_audit import audit_stopped
from tests.harness.upstream import Upstream

pytestmark = [pytest.mark.debian, pytest.mark.proof]

_FILES = ("relay.db", "relay.db-wal", "relay.db-journal")
#: The thorough check is slow; every so many cuts it is made instead of the quick one.
_THOROUGHLY = 10


@dataclass(frozen=True, slots=True)
class Cut:
    """A power cut: what may lie on the disk, and who had been told that it does."""

    moment: int
    files: dict[str, bytes]
    acknowledged: list[tuple[str, bytes]]


def cuts(traced: Trace, number: int, seed: int) -> Iterator[Cut]:
    """Return about so many cuts, spread over the whole trace."""
    dice = Random(seed)
    bodies = {message.name: message.body for message in traced.sent}
    told = [(each.left, each.name) for each in answers(traced.calls)]
    moments = list(_disk(traced).moments(traced.calls))
    until = dict(pairwise([*moments, moments[-1] + 1]))
    chosen = dict.fromkeys(moments, 0)
    for moment in dice.choices(moments, k=number):
        chosen[moment] += 1
    disk = _disk(traced)
    for moment in disk.moments(traced.calls):
        # The power may fail just before the disk changes again: answers up to then count.
        names = [name for left, name in told if left < until.get(moment, moment)]
        for _ in range(chosen[moment]):
            yield Cut(moment, disk.cut(dice), [(name, bodies[name]) for name in names])
        chosen[moment] = 0


async def damage(cut: Cut, directory: Path, *, thoroughly: bool) -> str | None:
    """Return what is wrong after this cut, or None.

    thoroughly: SQLite looks at everything, and each event has all of its destinations.
    """
    directory.mkdir()
    for name, content in cut.files.items():
        (directory / name).write_bytes(content)
    path = directory / "relay.db"
    try:
        found = await promises.bodies(path)
    except SpoolUnavailable as error:
        return f"relay cannot start: {error}"
    else:
        lost = promises.lost(found, cut.acknowledged)
        if lost:
            return f"{len(lost)} of {len(cut.acknowledged)} lost: {lost[:3]}"
        opinion = (
            audit_stopped(path).sound if thoroughly else promises.sound(path, thoroughly=False)
        )
        return None if opinion == "ok" else opinion
    finally:
        shutil.rmtree(directory)


async def damages(
    traced: Trace, number: int, seed: int, thoroughly: int = _THOROUGHLY
) -> list[str]:
    """Return what is wrong after each of so many cuts, where something is.

    thoroughly: look so at one in so many.
    """
    wrong = []
    for turn, cut in enumerate(cuts(traced, number, seed)):
        found = await damage(cut, traced.directory / "cut", thoroughly=turn % thoroughly == 0)
        if found is not None:
            sizes = {name: len(content) for name, content in cut.files.items()}
            wrong.append(f"cut {turn} of seed {seed} at line {cut.moment}, {sizes}: {found}")
    return wrong


async def relay_goes_on(
    traced: Trace, number: int, seed: int, configured: Callable[[str], str] = configuration
) -> None:
    """After each of about so many cuts, a relay delivers what is left, and all tell the same."""
    after_an_answer = [cut for cut in cuts(traced, number, seed) if cut.acknowledged]
    assert after_an_answer, "no cut came after an answer: this has proven nothing"
    for cut in after_an_answer:
        directory = traced.directory / "again"
        directory.mkdir()
        for name, content in cut.files.items():
            (directory / name).write_bytes(content)
        async with Upstream() as upstream:
            config = directory / "relay.yaml"
            config.write_text(configured(upstream.url))
            audit = await delivered_in_the_end(config, upstream, promised=())
        assert {body for _, body in cut.acknowledged} <= audit.bodies.keys()
        assert audit.having("delivered") == {row.id for row in audit.rows}
        shutil.rmtree(directory)


def runs(first: int, second: int) -> Sequence[TracedRun]:
    return (
        TracedRun(some(first), signal.SIGKILL, at_once=1),
        TracedRun(some(second, seed=2), at_once=4),
    )


@pytest.mark.timeout(300)
async def test_no_power_cut_loses_what_was_acknowledged(quick: Path) -> None:
    traced = await trace(quick, *runs(560, 160))
    _covers_every_kind(traced)
    assert await damages(traced, 300, seed=1) == []
    await relay_goes_on(traced, 3, seed=1)


def _to_several(url: str) -> str:
    """Return a configuration whose events go to three upstreams, which are one server."""
    more = f'upstreams:\n  ledger: {{url: "{url}/ledger"}}\n  audit: {{url: "{url}/audit"}}\n'
    text = configuration(url).replace("upstreams:\n", more)
    return text.replace("upstream: billing", "upstreams: [billing, ledger, audit]")


@lengths(short=60, long=1000)
async def test_no_power_cut_parts_an_event_from_a_destination(times: int, quick: Path) -> None:
    traced = await trace(quick, *runs(120, 60), configured=_to_several, destinations=3)
    assert await damages(traced, times, seed=1, thoroughly=1) == []
    await relay_goes_on(traced, 3, 1, _to_several)


@pytest.mark.timeout(300)
async def test_a_spool_that_does_not_sync_loses_events(quick: Path) -> None:
    traced = await trace(quick, TracedRun(some(60)), program=CONTROL)
    wrong = await damages(traced, 50, seed=1)
    assert len(wrong) > 5, wrong


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(10))
async def test_no_power_cut_of_thousands_loses_anything(quick: Path, seed: int) -> None:
    traced = await trace(quick, *runs(900, 360))
    _covers_every_kind(traced)
    assert await damages(traced, 1000, seed) == []
    await relay_goes_on(traced, 20, seed)


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_the_control_loses_events_again_and_again(quick: Path) -> None:
    runs = 0
    for seed in range(10):
        directory = quick / str(seed)
        directory.mkdir()
        traced = await trace(directory, TracedRun(some(100, seed)), program=CONTROL)
        runs += bool(await damages(traced, 50, seed))
    assert runs > 9


async def test_the_model_ends_where_the_real_disk_does(quick: Path) -> None:
    traced = await trace(quick, TracedRun(some(20), signal.SIGKILL), TracedRun(some(20, seed=2)))
    disk = _disk(traced)
    list(disk.moments(traced.calls))
    assert disk.whole() == {"relay.db": (quick / "relay.db").read_bytes()}
    assert disk.cut(Random(1), (Fate.ALL,))["relay.db"] == (quick / "relay.db").read_bytes()


def _disk(traced: Trace) -> Disk:
    return Disk(traced.directory, _FILES)


def _covers_every_kind(traced: Trace) -> None:
    """The trace must hold what a power cut could spoil: checkpoints, and a log begun anew."""
    first = next(answers(traced.calls)).left
    writes = [call for call in traced.calls if call.name == "pwrite64" and call.began > first]
    begun_anew = [call for call in writes if call.file == traced.log and call.numbers[-1] == 0]
    checkpointed = [call for call in writes if call.file == str(traced.directory / "relay.db")]
    assert len(begun_anew) >= 2
    assert len(checkpointed) >= 100


# ---- synced before answered -----------------------------------------------------------------
# No answer of success leaves before the event it answers has been synced.


async def test_every_success_leaves_after_its_sync(tmp_path: Path) -> None:
    traced = await trace(tmp_path, TracedRun(some(60)))
    left = list(answers(traced.calls))
    assert {each.name for each in left} == {each.name for each in traced.sent}
    assert unsynced(traced.calls, traced.log) == []
    for name in ("relay.db", "relay.db-wal"):
        assert directory_synced(traced.calls, str(tmp_path / name), left[0].left)


async def test_a_spool_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    traced = await trace(tmp_path, TracedRun(some(60)), program=CONTROL)
    assert len(unsynced(traced.calls, traced.log)) > 0.9 * len(traced.sent)
