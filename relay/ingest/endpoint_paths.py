"""Which endpoint a request target belongs to. Exact: nothing is decoded or normalised. No I/O.

Paths are compared as they were received, so `//`, `%2f`, `..`, `;` and an absolute URI are simply
other paths, and are unknown.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from relay.core.errors import Reason, Refusal
from relay.core.request import RequestHead

#: One segment that a sender chooses: no dots alone, nothing that anybody would decode or split.
_SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,64}"


class Shaped(Protocol):
    """One kind of request below a prefix, as in `relay.providers.RequestShape`."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def proxied(self) -> bool: ...


class HasPath(Protocol):
    """An endpoint as `EndpointPaths` sees it.

    Its path is exact where it has no shapes, or only shapes that append nothing; else a prefix.
    """

    @property
    def path(self) -> str: ...

    @property
    def methods(self) -> tuple[str, ...]: ...

    @property
    def shapes(self) -> Sequence[Shaped]: ...

    @property
    def proxied(self) -> bool: ...


E = TypeVar("E", bound=HasPath)


@dataclass(frozen=True, slots=True)
class EndpointMatch(Generic[E]):
    """The endpoint of a request.

    remainder: what follows the path of a prefix endpoint.
    methods: those allowed for this path.
    proxied: the sender gets the upstream's own answer: the endpoint, or this shape, is proxied.
    """

    endpoint: E
    remainder: str
    methods: tuple[str, ...]
    proxied: bool


class EndpointPaths(Generic[E]):
    """The paths of all endpoints."""

    def __init__(self, endpoints: Iterable[E]) -> None:
        self._by_method: dict[str, E] = {}
        # Those whose match is the same for every method.
        self._static: dict[str, EndpointMatch[E]] = {}
        self._prefixes: list[tuple[str, list[tuple[re.Pattern[str], Shaped]], E]] = []
        # Requests below a prefix whose shape has no variable, by method and target.
        self._below: dict[tuple[str, str], EndpointMatch[E]] = {}
        for endpoint in endpoints:
            if any(shape.path for shape in endpoint.shapes):
                patterns = [(_pattern(shape.path), shape) for shape in endpoint.shapes]
                self._prefixes.append((endpoint.path.rstrip("/"), patterns, endpoint))
            elif endpoint.shapes:
                self._by_method[endpoint.path] = endpoint
            else:
                self._static[endpoint.path] = _match_of(endpoint, "", (), "")
        # By the general way, which sees all endpoints.
        for prefix, shapes, _ in self._prefixes:
            for _, shape in shapes:
                if "{" not in shape.path:
                    target = prefix + shape.path
                    self._below[shape.method, target] = self._find(shape.method, target)

    def find(self, head: RequestHead) -> EndpointMatch[E]:
        """Return the endpoint of this request, whatever its method.

        Raises:
            Refusal: UNKNOWN_ENDPOINT, no endpoint has this path.
        """
        usual = self._static.get(head.target) or self._below.get((head.method, head.target))
        if usual is not None:
            return usual
        return self._find(head.method, head.target)

    def _find(self, method: str, target: str) -> EndpointMatch[E]:
        path = target.partition("?")[0]
        if "#" in target:
            # No sender sends a fragment (RFC 9110, section 7.1), and nothing of ours forwards one.
            raise Refusal(Reason.UNKNOWN_ENDPOINT)
        if (static := self._static.get(path)) is not None:
            return static
        if (exact := self._by_method.get(path)) is not None:
            return _match_of(exact, "", exact.shapes, method)
        for prefix, patterns, endpoint in self._prefixes:
            if path.startswith(prefix):
                remainder = path[len(prefix) :]
                shapes = [shape for pattern, shape in patterns if pattern.fullmatch(remainder)]
                if shapes:
                    return _match_of(endpoint, remainder, shapes, method)
        raise Refusal(Reason.UNKNOWN_ENDPOINT)

    def prefix_endpoint(self, head: RequestHead) -> E | None:
        """Return the endpoint whose prefix this path starts with, matched by a shape or not."""
        for prefix, _, endpoint in self._prefixes:
            if head.path == prefix or head.path.startswith(f"{prefix}/"):
                return endpoint
        return None


def _match_of(
    endpoint: E, remainder: str, shapes: Sequence[Shaped], method: str
) -> EndpointMatch[E]:
    methods = tuple(shape.method for shape in shapes) or endpoint.methods
    proxied = endpoint.proxied or any(shape.proxied for shape in shapes if shape.method == method)
    return EndpointMatch(endpoint, remainder, methods, proxied)


def _pattern(path: str) -> re.Pattern[str]:
    """Compile a path in which `{name}` stands for one segment."""
    parts = re.split(r"\{[A-Za-z]+\}", path)
    return re.compile(_SEGMENT.join(re.escape(part) for part in parts))
