"""Reads a configuration again and again, and knows which files each reading rests on.

Files are looked at before they are read: what changes meanwhile, or at any time later, is then
found to be another than what was looked at. This holds for a configuration that is refused too:
what mends it may be the appearance of a file that it names.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from relay.config import LARGEST_FILE, Settings
from relay.config.document import Unreadable, parse
from relay.errors import ConfigError, Problem
from relay.files import Stamp, look, read

_SECRET_FILE = re.compile(r"\$\{file:([^{}]+)\}")


class Reading:
    """Reads one configuration file, as often as it is called."""

    def __init__(self, path: Path, load: Callable[[Path], Settings]) -> None:
        """Take the file, and what reads and checks it; that raises `ConfigError`."""
        self._path = path
        self._load = load
        self._seen: Mapping[Path, Stamp] = {}

    def __call__(self) -> Settings:
        """Return what is in the file now. May be called in any thread, by one at a time.

        Raises:
            ConfigError: with everything that is wrong with it.
        """
        file = self._path.absolute()
        # The rest is looked at once the file has named it. Until then, and should it name nothing
        # that can be found, the file alone decides.
        self._seen = look([file])
        self._seen = {**self._seen, **look(sorted(self._named()))}
        return self._load(self._path)

    def seen(self) -> Mapping[Path, Stamp]:
        """Return the files that the last reading rests on, as they were before it began."""
        return self._seen

    def _named(self) -> set[Path]:
        try:
            content = read(self._path, LARGEST_FILE + 1)
            return named(content.decode(), self._path.absolute().parent)
        except OSError as error:
            # A pipe is refused here, before anybody waits for what it has to say.
            message = f"cannot read the file: {error.strerror}"
            raise ConfigError([Problem(str(self._path), 1, 1, "", message)]) from None
        except ValueError:
            # No path, or no text: what loads it says so.
            return set()


def named(text: str, base: Path) -> set[Path]:
    """Return the files that a configuration names, whether they are there or not. Pure.

    What cannot be parsed names none: only a change of the text itself can mend it.
    """
    try:
        data = parse(text.removeprefix("\ufeff")).data
    except (Unreadable, UnicodeEncodeError):
        return set()
    return {base / name for name in (*_secrets(data), *_certificates(data))}


def _secrets(data: object) -> Iterator[str]:
    """Return the names behind `${file:NAME}`, wherever they stand."""
    if isinstance(data, str) and (reference := _SECRET_FILE.fullmatch(data)):
        yield reference[1]
    elif isinstance(data, dict | tuple):
        for each in data.values() if isinstance(data, dict) else data:
            yield from _secrets(each)


def _certificates(data: object) -> Iterator[str]:
    """Return the certificates and keys of listeners."""
    listeners = data.get("listen") if isinstance(data, dict) else None
    for each in listeners if isinstance(listeners, tuple) else ():
        tls = each.get("tls") if isinstance(each, dict) else None
        for key in ("certificate", "key"):
            name = tls.get(key) if isinstance(tls, dict) else None
            if isinstance(name, str):
                yield name
