"""The configuration file: read, checked as a whole, and turned into settings.

A file is either good in every part or refused with every mistake that is in it.
"""

from collections.abc import Mapping
from pathlib import Path

from relay.config import checks, endpoint_checks, overlaps, references, unavailable
from relay.config.binding import Senders, provider, provider_name, provider_of, senders, terms
from relay.config.document import Document, Unreadable, parse
from relay.config.endpoint import Endpoint, TimeWindow
from relay.config.places import TOP, Fault, Source
from relay.config.settings import PostgresSpool, Settings, SqliteSpool
from relay.config.validation import validate
from relay.config.values import Bind
from relay.errors import ConfigError
from relay.files import read

__all__ = [
    "Bind",
    "Endpoint",
    "PostgresSpool",
    "Senders",
    "Settings",
    "SqliteSpool",
    "TimeWindow",
    "load",
    "load_text",
    "provider",
    "provider_name",
    "provider_of",
    "senders",
    "terms",
]

LARGEST_FILE = 1024 * 1024


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read a configuration file; `environ` is where `${env:NAME}` is looked up.

    Relative paths in it start from its directory.

    Raises:
        ConfigError: with every mistake, in the order of the file.
    """
    base = path.absolute().parent
    try:
        text = read(path, LARGEST_FILE + 1).decode()
    except UnicodeDecodeError as error:
        message = f"not UTF-8: byte {error.start + 1} cannot be read; save the file as UTF-8"
        raise _refused(Source(str(path), base), [Fault((), message)]) from None
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else str(error)
        message = f"cannot read the file: {cause}"
        raise _refused(Source(str(path), base), [Fault((), message)]) from None
    return load_text(text, str(path), environ, base)


def load_text(text: str, name: str, environ: Mapping[str, str], base: Path) -> Settings:
    """Read a configuration from text; `name` stands for the file in messages.

    Raises:
        ConfigError: with every mistake, in the order of the text.
    """
    source = Source(name, base.absolute())
    # A byte order mark, as some editors write it.
    text = text.removeprefix("\ufeff")
    try:
        if len(text.encode()) > LARGEST_FILE:
            raise _refused(source, [Fault((), "larger than 1 MiB")])
        document = parse(text)
    except UnicodeEncodeError:
        raise _refused(source, [Fault((), "not valid Unicode")]) from None
    except Unreadable as error:
        raise _refused(source, [error.fault]) from None
    if document.data is None:
        message = "the file is empty; write at least listen, upstreams and endpoints"
        raise _refused(source, [Fault((), message, position=TOP)])
    return _settle(document, source, environ)


def _settle(document: Document, source: Source, environ: Mapping[str, str]) -> Settings:
    resolved = references.resolve(document.data, environ, source.base)
    source = Source(
        source.file,
        source.base,
        document.values,
        document.keys,
        frozenset(resolved.literals),
    )
    unsound = {fault.place for fault in (*document.faults, *resolved.faults) if fault.place}
    faults = [*document.faults, *resolved.faults]

    validated = validate(resolved.data, source.base)
    # What stands where a reference was refused is not judged a second time.
    faults += [fault for fault in validated.faults if fault.place not in unsound]
    unsound |= validated.unsound
    settings = validated.settings
    if settings is not None:
        faults += [fault for fault in _together(settings, document) if not fault.rests_on(unsound)]
    if faults or settings is None:
        raise _refused(source, faults)
    return _with_environments(settings).from_source(source)


def _together(settings: Settings, document: Document) -> list[Fault]:
    faults = [*unavailable.refusals(settings)]
    faults += checks.faults(settings, _names(document.data))
    for at, endpoint in enumerate(settings.endpoints):
        faults += endpoint_checks.faults(endpoint, ("endpoints", at))
    faults += overlaps.faults(endpoint_checks.taken(settings.endpoints))
    return faults


def _names(data: object) -> tuple[str, ...]:
    """Return the names of all upstreams, those with mistakes too."""
    upstreams = data.get("upstreams") if isinstance(data, dict) else None
    return tuple(upstreams) if isinstance(upstreams, dict) else ()


def _with_environments(settings: Settings) -> Settings:
    endpoints = tuple(
        endpoint.model_copy(update={"environment": endpoint_checks.environment(endpoint, facts)})
        for endpoint in settings.endpoints
        for facts in (provider_of(endpoint).facts,)
    )
    return settings.model_copy(update={"endpoints": endpoints})


def _refused(source: Source, faults: list[Fault]) -> ConfigError:
    return ConfigError(source.problem(fault) for fault in faults)
