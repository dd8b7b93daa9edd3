"""Noticing that files have changed, from their directories.

Whoever replaces a file, or a symbolic link on the way to it as Kubernetes does, changes a
directory: the file that was watched would never tell. Other files may lie there and change all the
time, so what counts is whether ours are others than before.
"""

from collections.abc import Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from watchfiles import awatch

from relay.clock import Clock
from relay.files import fingerprint

#: How long writers are given to finish, in milliseconds.
_TOGETHER: Final = 200
#: A look without a notice, in milliseconds: not every file system gives notice.
_ANYWAY: Final = 5000
#: Seconds until another try while there is nothing to watch.
_TRY_AGAIN: Final = 5.0


async def watch(
    files: Callable[[], Iterable[Path]], changed: Callable[[], None], clock: Clock
) -> None:
    """Call `changed` whenever any of the files is another than before, until cancelled.

    files: asked again after each notice, since others may count by then.
    """
    paths = sorted(set(files()))
    seen = fingerprint(paths)
    while True:
        await _notice({path.parent for path in paths}, clock)
        found = fingerprint(paths)
        if found != seen:
            seen = found
            changed()
        named = sorted(set(files()))
        if named != paths:
            paths, seen = named, fingerprint(named)


async def _notice(directories: Iterable[Path], clock: Clock) -> None:
    """Return when anything has changed in these directories, or after a while."""
    present = [path for path in directories if path.is_dir()]
    if not present:
        await clock.sleep(_TRY_AGAIN)
        return
    notices = awatch(
        *present,
        watch_filter=None,
        recursive=False,
        debounce=2 * _TOGETHER,
        step=_TOGETHER,
        rust_timeout=_ANYWAY,
        yield_on_timeout=True,
    )
    async with aclosing(notices):
        await anext(notices, None)
