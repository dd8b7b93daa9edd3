"""A spool on a small volume, and what senders and upstreams may expect of it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.crash import promises
from tests.crash.messages import Answered, Message, send
from tests.harness.clock import wait_until
from tests.harness.deliveries import configuration
from tests.harness.optional_tools import small_volume
from tests.harness.upstream import Upstream, answer

#: `limits.answer_within`, and something for a busy machine.
_WITHIN: Final = 4.0
_GENEROUS: Final = 1.0
_RECOVERY: Final = 5.0


@contextmanager
def volume_of(tmp_path: Path, mebibytes: int, upstream: Upstream) -> Iterator[Path]:
    """A small volume with the spool on it; yields the configuration, which lies elsewhere."""
    with small_volume(tmp_path / "volume", mebibytes) as volume:
        config = tmp_path / "relay.yaml"
        text = configuration(upstream.url).replace("path: relay.db", f"path: {volume}/relay.db")
        config.write_text(text.replace("[50ms]", "[500ms]"))
        yield config


def refused_properly(answered: Sequence[Answered]) -> list[Answered]:
    """Return the refused ones; each was told to come again, and in time."""
    assert {each.status for each in answered} <= {200, 502}
    slowest = max((each.seconds for each in answered), default=0.0)
    assert slowest < _WITHIN + _GENEROUS, f"an answer took {slowest:.1f} s"
    return [each for each in answered if not each.acknowledged]


async def accepts_again(address: tuple[str, int], fresh: Iterator[Message]) -> list[Answered]:
    """Send until one is accepted, which must be soon; return all answers."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _RECOVERY
    answered = [await send(address, next(fresh))]
    while not answered[-1].acknowledged:
        assert loop.time() < until, f"refused for {_RECOVERY} s after there was room"
        await asyncio.sleep(0.05)
        answered.append(await send(address, next(fresh)))
    return answered


async def all_there(path: Path, answered: Sequence[Answered]) -> None:
    """What was acknowledged is in the spool as it was sent, and the spool is sound."""
    promised = [each.message for each in answered if each.acknowledged]
    found = await promises.bodies(path)
    assert promises.lost(found, [(each.name, each.body) for each in promised]) == []
    assert promises.sound(path, thoroughly=True) == "ok"


class Deliveries:
    """An upstream's goodwill: refuses everything, or takes it and remembers what it took."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._taken: set[bytes] = set()

    def refuse(self) -> None:
        self._upstream.behave(answer(503))

    def take(self) -> None:
        async def remember(writer: asyncio.StreamWriter) -> None:
            # Nothing has run since this request was recorded.
            self._taken.add(self._upstream.received[-1].body)
            await answer(200)(writer)

        self._upstream.behave(remember)

    async def hold(self, answered: Sequence[Answered], within: float) -> None:
        """Return when everything acknowledged has been taken."""
        wanted = {each.message.body for each in answered if each.acknowledged}
        await wait_until(lambda: wanted <= self._taken, within)
        missing = len(wanted - self._taken)
        assert missing == 0, f"{missing} of {len(wanted)} were not delivered in {within:g} s"
