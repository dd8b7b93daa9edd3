"""Noticing that files have changed, from their directories.

Whoever replaces a file, or a symbolic link on the way to it as Kubernetes does, changes a
directory: the file that was watched would never tell. Other files may lie there and change all the
time, so what counts is whether ours are others than when they were read.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Final

from watchfiles import awatch

from relay.apart import apart
from relay.clock import Clock
from relay.files import Stamp, look

#: How long writers are given to finish, in milliseconds.
_TOGETHER: Final = 200
#: A look without a notice, in milliseconds: not every file system gives notice.
_ANYWAY: Final = 1000
#: Seconds until another try while there is nothing to watch.
_TRY_AGAIN: Final = 1.0


async def watch(
    seen: Callable[[], Mapping[Path, Stamp]], changed: Callable[[], None], clock: Clock
) -> None:
    """Call `changed` whenever a file is another than it was when it was read, until cancelled.

    It is called once for each change, within two seconds, also for a change that came before this
    began. Raises nothing.

    seen: returns the files that the last reading rests on, as they were before it (`relay.files`);
        another object after each reading.
    """
    told: tuple[Mapping[Path, Stamp], Mapping[Path, Stamp]] | None = None
    while True:
        before = seen()
        now = await apart(partial(look, before))
        # Told once, it may take a while until they are read again.
        if now != before and (told is None or told[0] is not before or told[1] != now):
            told = (before, now)
            changed()
        await _notice({path.parent for path in before}, clock)


async def _notice(directories: Iterable[Path], clock: Clock) -> None:
    """Return when anything has changed in these directories, or after a while."""
    present = await apart(lambda: [path for path in directories if os.path.isdir(path)])  # noqa: PTH112 - raises nothing
    if present:
        notices = awatch(
            *present,
            watch_filter=None,
            recursive=False,
            debounce=2 * _TOGETHER,
            step=_TOGETHER,
            rust_timeout=_ANYWAY,
            yield_on_timeout=True,
        )
        try:
            async with aclosing(notices):
                await anext(notices, None)
        except (OSError, RuntimeError):
            # It is gone, or the system watches too much already: we look by ourselves.
            pass
        else:
            return
    await clock.sleep(_TRY_AGAIN)
