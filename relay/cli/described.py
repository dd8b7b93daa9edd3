"""A sender that is described in a file, without the secrets and services that it is used with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from relay.config.document import Document, Unreadable, parse
from relay.config.inline import InlineProvider as Section
from relay.config.places import TOP, Fault, Place, Source
from relay.config.validation import validate
from relay.errors import ConfigError
from relay.inline.provider import InlineProvider
from relay.inline.rules import problems
from relay.plugins import load, names
from relay.providers import Provider
from relay.secret import Secret

LARGEST_FILE: Final = 1024 * 1024
_BLOCK: Final[Place] = ("endpoints", 0, "provider")
_WANTED = "write a provider block, or a configuration with one endpoint whose provider is described"


class Unknown(ValueError):
    """Neither a provider that is built in nor a file."""


@dataclass(frozen=True, slots=True)
class Described:
    """A provider, and the file that describes it: None for one that is built in.

    public_url: what its messages are signed for, where the file says so.
    """

    provider: Provider
    file: Path | None = None
    public_url: str | None = None


def named_or_described(word: str) -> Described:
    """Return the provider of this name, or the one that the file of this name describes.

    Raises:
        Unknown: there is neither.
        ConfigError: the file describes none, or one that cannot be meant; with every mistake.
    """
    if word in names("providers"):
        return Described(load("providers", word).PROVIDER)
    path = Path(word)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return described(path)
    known = ", ".join(names("providers"))
    message = f'no provider named "{word}"; there are: {known}, and files such as sender.yaml'
    raise Unknown(message)


def described(path: Path) -> Described:
    """Return the sender that a file describes: a whole configuration, or the block alone.

    Nothing else in the file is looked at: secrets may be unset, and services unknown.

    Raises:
        ConfigError: as above.
    """
    document = _read(path)
    source = Source(str(path), path.absolute().parent, document.values, document.keys)
    if document.faults:
        raise ConfigError(source.problem(fault) for fault in document.faults)
    place, public_url = _find(document, source)
    block = _at(document.data, place)
    found, faults = _validated(block, public_url, source.base)
    if found is None:
        moved = (_moved(fault, place) for fault in faults)
        raise ConfigError(source.problem(fault) for fault in moved)
    return Described(found, path, public_url)


def _read(path: Path) -> Document:
    source = Source(str(path), path.absolute().parent)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigError([source.problem(Fault((), "larger than 1 MiB"))])
        return parse(content.decode().removeprefix("\ufeff"))
    except Unreadable as error:
        raise ConfigError([source.problem(error.fault)]) from None
    except UnicodeDecodeError as error:
        message = f"not UTF-8: byte {error.start + 1} cannot be read; save the file as UTF-8"
        raise ConfigError([source.problem(Fault((), message))]) from None
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else str(error)
        message = f"cannot read the file: {cause}"
        raise ConfigError([source.problem(Fault((), message))]) from None


def _find(document: Document, source: Source) -> tuple[Place, str | None]:
    """Return where the one description stands, and the public_url beside it."""
    data = document.data if isinstance(document.data, dict) else {}
    if "signature" in data:
        return (), None
    if isinstance(data.get("provider"), dict):
        return ("provider",), None
    endpoints = data.get("endpoints")
    found: list[tuple[Place, Mapping[str, Any]]] = [
        (("endpoints", at, "provider"), endpoint)
        for at, endpoint in enumerate(endpoints if isinstance(endpoints, tuple) else ())
        if isinstance(endpoint, dict) and isinstance(endpoint.get("provider"), dict)
    ]
    if len(found) != 1:
        number = "several senders" if found else "no sender"
        fault = Fault((), f"describes {number}; {_WANTED}", position=TOP)
        raise ConfigError([source.problem(fault)])
    place, endpoint = found[0]
    public_url = endpoint.get("public_url")
    return place, public_url if isinstance(public_url, str) else None


def _validated(
    block: object, public_url: str | None, base: Path
) -> tuple[Provider | None, tuple[Fault, ...]]:
    """Check a block as `relay check` would, in an endpoint that has nothing else to be wrong."""
    endpoint: dict[str, object] = {
        "name": "sender",
        "path": "/sender",
        "provider": block,
        "secrets": (Secret("stand-in"),),
        "upstream": "nowhere",
    }
    if public_url is not None:
        endpoint["public_url"] = public_url
    whole = {
        "listen": ({"bind": "127.0.0.1:0"},),
        "upstreams": {"nowhere": {"url": "http://127.0.0.1:1/"}},
        "endpoints": (endpoint,),
    }
    checked = validate(whole, base)
    section = None if checked.settings is None else checked.settings.endpoints[0].provider
    if checked.faults or not isinstance(section, Section):
        return None, checked.faults
    description = section.description()
    wrong = tuple(Fault((*_BLOCK, *keys), message) for keys, message in problems(description))
    return (None if wrong else InlineProvider(description)), wrong


def _at(data: object, place: Place) -> object:
    for part in place:
        data = data[part]  # type: ignore[index]  # `_find` has been there
    return data


def _moved(fault: Fault, place: Place) -> Fault:
    """Return the fault where the block stands in its own file."""
    if fault.place[: len(_BLOCK)] == _BLOCK:
        return replace(fault, place=(*place, *fault.place[len(_BLOCK) :]))
    # Beside the block: the public_url.
    return replace(fault, place=(*place[:-1], *fault.place[len(_BLOCK) - 1 :]))
