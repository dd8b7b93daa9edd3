"""The files that a configuration is read from, and watching them for changes."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Final

from watchfiles import awatch

from relay.config import Settings
from relay.config.file_text import MAX_FILE_BYTES, unreadable
from relay.config.yaml_document import Unreadable, parse
from relay.core.clock import Clock
from relay.core.concurrency import run_in_daemon_thread
from relay.core.errors import ConfigError, Problem
from relay.core.files import Stamp, read, stamps

# ---- the files of one configuration ---------------------------------------------------------
# Files are stamped before they are read: a change during the reading, or at any time later, then
# differs from the stamp. This holds for a configuration that is refused too: what mends it may be
# the appearance of a file that it names.

_SECRET_FILE = re.compile(r"\$\{file:([^{}]+)\}")


class ConfigSource:
    """Reads one configuration file each time it is called, and stamps the files it names."""

    def __init__(self, path: Path, load: Callable[[Path], Settings]) -> None:
        """Take the file, and what reads and checks it; that raises `ConfigError`."""
        self._path = path
        self._load = load
        self._stamps: Mapping[Path, Stamp] = {}

    def __call__(self) -> Settings:
        """Return what is in the file now. May be called in any thread, by one at a time.

        Raises:
            ConfigError: with everything that is wrong with it.
        """
        file = self._path.absolute()
        # The rest is stamped once the file has named it. Until then, and should it name nothing
        # that can be found, the file alone decides.
        self._stamps = stamps([file])
        self._stamps = {**self._stamps, **stamps(sorted(self._named()))}
        return self._load(self._path)

    def seen(self) -> Mapping[Path, Stamp]:
        """Return the stamps of the files of the last reading, taken before they were read."""
        return self._stamps

    def _named(self) -> set[Path]:
        try:
            content = read(self._path, MAX_FILE_BYTES + 1)
            return named(content.decode(), self._path.absolute().parent)
        except OSError as error:
            # A pipe is refused here, before a read blocks on it.
            problem = Problem(str(self._path), 1, 1, "", unreadable(error))
            raise ConfigError([problem]) from None
        except ValueError:
            # No path, or no text: `load` reports it.
            return set()


def named(text: str, base: Path) -> set[Path]:
    """Return the files that a configuration names, whether they exist or not. Pure.

    A text that cannot be parsed names none: only a change of the text itself can mend it.
    """
    try:
        data = parse(text.removeprefix("\ufeff")).data
    except (Unreadable, UnicodeEncodeError):
        return set()
    return {base / name for name in (*_secrets(data), *_certificates(data))}


def _secrets(data: object) -> Iterator[str]:
    """Return the names in every `${file:NAME}`."""
    if isinstance(data, str) and (reference := _SECRET_FILE.fullmatch(data)):
        yield reference[1]
    elif isinstance(data, dict | tuple):
        for each in data.values() if isinstance(data, dict) else data:
            yield from _secrets(each)


def _certificates(data: object) -> Iterator[str]:
    """Return the certificates and keys of listeners, and those and the authorities of upstreams."""
    top = data if isinstance(data, dict) else {}
    listeners, upstreams = top.get("listen"), top.get("upstreams")
    sections = [
        *(listeners if isinstance(listeners, tuple) else ()),
        *(upstreams.values() if isinstance(upstreams, dict) else ()),
    ]
    for each in sections:
        tls = each.get("tls") if isinstance(each, dict) else None
        for key in ("ca", "certificate", "key"):
            name = tls.get(key) if isinstance(tls, dict) else None
            if isinstance(name, str):
                yield name


# ---- watching directories -------------------------------------------------------------------
# Replacing a file, or a symbolic link on the way to it as Kubernetes does, changes a directory and
# not the file that was watched. Other files may lie there and change all the time, so what counts
# is whether the stamps of ours differ.

#: How long writers are given to finish, in milliseconds.
_BATCH_WINDOW_MS: Final = 200
#: Polling without a notice, in milliseconds: not every file system gives notice.
_POLL_INTERVAL_MS: Final = 1000
#: Seconds between retries while there is nothing to watch.
_RETRY_INTERVAL: Final = 1.0


async def watch(
    seen: Callable[[], Mapping[Path, Stamp]], changed: Callable[[], None], clock: Clock
) -> None:
    """Call `changed` whenever a file differs from the stamp of its last reading, until cancelled.

    It is called once for each change, within two seconds, also for a change from before the start
    of watching. Raises nothing.

    seen: returns the stamps of the last reading (`relay.core.files`); another object after each
        reading.
    """
    reported: tuple[Mapping[Path, Stamp], Mapping[Path, Stamp]] | None = None
    while True:
        before = seen()
        now = await run_in_daemon_thread(partial(stamps, before))
        # Reported once: it may take a while until they are read again.
        if now != before and (reported is None or reported[0] is not before or reported[1] != now):
            reported = (before, now)
            changed()
        await _notice({path.parent for path in before}, clock)


async def _notice(directories: Iterable[Path], clock: Clock) -> None:
    """Return when anything has changed in these directories, or after a polling interval."""
    present = await run_in_daemon_thread(
        lambda: [path for path in directories if os.path.isdir(path)]  # noqa: PTH112 - never raises
    )
    if present:
        notices = awatch(
            *present,
            watch_filter=None,
            recursive=False,
            debounce=2 * _BATCH_WINDOW_MS,
            step=_BATCH_WINDOW_MS,
            rust_timeout=_POLL_INTERVAL_MS,
            yield_on_timeout=True,
        )
        try:
            async with aclosing(notices):
                await anext(notices, None)
        except (OSError, RuntimeError):
            # It was removed, or the system's limit on watches is reached: poll.
            pass
        else:
            return
    await clock.sleep(_RETRY_INTERVAL)
