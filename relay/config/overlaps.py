"""Endpoints that would take the same request: below a prefix, only one of them ever gets it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from relay.config.places import Fault, Place
from relay.providers import Shape

_CHOSEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Taken:
    """The path of one endpoint, and what its provider appends to it."""

    name: str
    path: str
    shapes: tuple[Shape, ...]
    place: Place

    @property
    def is_prefix(self) -> bool:
        return any(shape.path for shape in self.shapes)

    def paths(self) -> tuple[tuple[str, ...], ...]:
        """Return every path that it takes, in segments."""
        if not self.is_prefix:
            return (tuple(self.path.split("/")),)
        prefix = self.path.rstrip("/")
        return tuple(tuple((prefix + shape.path).split("/")) for shape in self.shapes)


def faults(endpoints: Sequence[Taken]) -> Iterator[Fault]:
    """Yield a fault for the later one of two that overlap, and for a prefix that ends in a slash.

    Equal paths are not spoken of here.
    """
    for each in endpoints:
        if each.is_prefix and each.path != "/" and each.path.endswith("/"):
            message = (
                "is a prefix, and what is appended begins with a slash; leave the last one out"
            )
            yield Fault((*each.place, "path"), message, ((*each.place, "provider"),))
    for first, second in combinations(endpoints, 2):
        if first.path == second.path or not (first.is_prefix or second.is_prefix):
            continue
        both = (
            "/".join(one)
            for one, other in product(second.paths(), first.paths())
            if _meet(one, other)
        )
        if (path := next(both, None)) is not None:
            message = f"{path} belongs to the endpoint {first.name} already; choose another path"
            needs = (*second.place, "provider"), (*first.place, "provider"), (*first.place, "path")
            yield Fault((*second.place, "path"), message, needs)


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether one request could have both paths."""
    return len(one) == len(other) and all(map(_same, one, other))


def _same(one: str, other: str) -> bool:
    if one.startswith("{") or other.startswith("{"):
        literal = other if one.startswith("{") else one
        return literal.startswith("{") or _CHOSEN.fullmatch(literal) is not None
    return one == other
