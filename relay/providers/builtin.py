"""The table of built-in providers, by the name that a configuration gives them.

It is static: a new provider is a module of its own and one line here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from relay.providers import Provider
from relay.providers.midtrans import notification, snap
from relay.providers.vipps import callbacks, webhooks

_BUILT_IN: Final[Mapping[str, Provider]] = MappingProxyType(
    {
        "midtrans": notification.PROVIDER,
        "midtrans-snap": snap.PROVIDER,
        "vipps": webhooks.PROVIDER,
        "vipps-callback": callbacks.PROVIDER,
    }
)


class UnknownProvider(LookupError):
    """There is no provider of this name. `known` lists the names there are."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f'no provider named "{name}"; there are: {", ".join(known)}')
        self.name = name
        self.known = known


def names() -> tuple[str, ...]:
    """Return the names of the built-in providers, sorted."""
    return tuple(sorted(_BUILT_IN))


def provider_named(name: str) -> Provider:
    """Return the provider of this name.

    Raises:
        UnknownProvider: there is none.
    """
    if name not in _BUILT_IN:
        raise UnknownProvider(name, names())
    return _BUILT_IN[name]
