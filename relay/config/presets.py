"""The ready senders of `config/senders/`, which an endpoint's `provider` names like a built-in one.

They are files beside the code: in the package where it is installed, in `config/` in a checkout.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import relay
from relay.config.yaml_document import parse
from relay.providers import builtin

_PACKAGE: Final = Path(relay.__file__).parent
_PLACES: Final = (_PACKAGE / "senders", _PACKAGE.parent / "config" / "senders")


@cache
def files() -> MappingProxyType[str, Path]:
    """Return the file of each ready sender, by its name, sorted."""
    found = next((place for place in _PLACES if place.is_dir()), None)
    paths = sorted(found.glob("*.yaml")) if found else []
    return MappingProxyType({path.stem: path for path in paths})


def names() -> tuple[str, ...]:
    """Return every name that an endpoint's `provider` can have, sorted."""
    return tuple(sorted((*builtin.names(), *files())))


@cache
def example(name: str) -> Mapping[str, Any]:
    """Return the endpoint in the file of a ready sender, as it is written there."""
    data: Any = parse(files()[name].read_text(encoding="utf-8")).data
    found: Mapping[str, Any] = data["endpoints"][0]
    return found


def with_presets(data: object) -> object:
    """Return a configuration with the block of each ready sender in the place of its name."""
    endpoints = data.get("endpoints") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(endpoints, tuple):
        return data
    return {**data, "endpoints": tuple(_described(each) for each in endpoints)}


def _described(endpoint: object) -> object:
    name = endpoint.get("provider") if isinstance(endpoint, dict) else None
    if not isinstance(endpoint, dict) or not isinstance(name, str) or name not in files():
        return endpoint
    return {**endpoint, "provider": example(name)["provider"]}
