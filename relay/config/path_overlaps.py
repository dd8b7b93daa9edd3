"""Overlaps of the paths that endpoints claim: each path below a prefix belongs to one of them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from relay.config.yaml_document import ConfigIssue, Location
from relay.providers import RequestShape

_PLACEHOLDER_VALUE = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class ClaimedPaths:
    """The path of one endpoint, and what its provider appends to it."""

    name: str
    path: str
    shapes: tuple[RequestShape, ...]
    location: Location

    @property
    def is_prefix(self) -> bool:
        return any(shape.path for shape in self.shapes)

    def paths(self) -> tuple[tuple[str, ...], ...]:
        """Return every path that requests may have, in segments."""
        if not self.is_prefix:
            return (tuple(self.path.split("/")),)
        prefix = self.path.rstrip("/")
        return tuple(tuple((prefix + shape.path).split("/")) for shape in self.shapes)


def overlap_issues(
    endpoints: Sequence[ClaimedPaths], place: Callable[[Location], str]
) -> Iterator[ConfigIssue]:
    """Yield an issue for the later one of two that overlap, and for a prefix that ends in a slash.

    Equal paths are reported by `relay.config.checks`. place: where a value stands in the file.
    """
    for each in endpoints:
        if each.is_prefix and each.path != "/" and each.path.endswith("/"):
            message = (
                "is a prefix, and what is appended begins with a slash; leave the last one out"
            )
            own = ((*each.location, "provider"), (*each.location, "callback"))
            yield ConfigIssue((*each.location, "path"), message, own)
    for first, second in combinations(endpoints, 2):
        if first.path == second.path or not (first.is_prefix or second.is_prefix):
            continue
        both = (
            "/".join(one)
            for one, other in product(second.paths(), first.paths())
            if _overlap(one, other)
        )
        if (path := next(both, None)) is not None:
            at = place((*first.location, "path"))
            message = f"{path} belongs to the endpoint {first.name}, at {at}; choose another path"
            needs = (
                (*second.location, "provider"),
                (*first.location, "provider"),
                (*first.location, "path"),
            )
            yield ConfigIssue((*second.location, "path"), message, needs)


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return whether a request could match both paths."""
    return len(one) == len(other) and all(map(_segments_overlap, one, other))


def _segments_overlap(one: str, other: str) -> bool:
    if one.startswith("{") or other.startswith("{"):
        literal = other if one.startswith("{") else one
        return literal.startswith("{") or _PLACEHOLDER_VALUE.fullmatch(literal) is not None
    return one == other
