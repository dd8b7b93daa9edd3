"""Finding an implementation by name.

Adding a provider, a scheme, a source or a spool is adding one file: nothing is registered
anywhere, and a name that is not there is answered with the ones that are.
"""

import pkgutil
from importlib import import_module
from types import ModuleType


class UnknownPlugin(LookupError):
    """There is no such implementation. `known` lists the names there are."""

    def __init__(self, family: str, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f'no {family} named "{name}"; there are: {", ".join(known)}')
        self.family = family
        self.name = name
        self.known = known


def names(package: str) -> tuple[str, ...]:
    """Return the names of the implementations in one of our packages, sorted.

    A name is the module's, with hyphens: `midtrans_snap` is called `midtrans-snap`.
    """
    path = import_module(f"relay.{package}").__path__
    modules = (info.name for info in pkgutil.iter_modules(path) if not info.ispkg)
    return tuple(sorted(name.replace("_", "-") for name in modules))


def load(package: str, name: str) -> ModuleType:
    """Return the module that implements `name`.

    Raises:
        UnknownPlugin: nothing of that name exists.
    """
    known = names(package)
    if name not in known:
        raise UnknownPlugin(package.rstrip("s"), name, known)
    return import_module(f"relay.{package}.{name.replace('-', '_')}")
