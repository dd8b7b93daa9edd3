"""Which endpoint a request target belongs to. Pure, and exact: nothing is decoded or normalised.

Paths are compared as they were received, so `//`, `%2f`, `..`, `;` and an absolute URI are simply
other paths, and are unknown.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from relay.errors import Reason, Refusal
from relay.model import RequestHead


class Routed(Protocol):
    """What a route needs to know of an endpoint."""

    @property
    def path(self) -> str: ...

    @property
    def methods(self) -> tuple[str, ...]: ...


E = TypeVar("E", bound=Routed)


class Routes(Generic[E]):
    """The public paths, as configured."""

    def __init__(self, endpoints: Iterable[E]) -> None:
        self._exact = {endpoint.path: endpoint for endpoint in endpoints}

    def find(self, head: RequestHead) -> E:
        """Return the endpoint of this path.

        Raises:
            Refusal: UNKNOWN_ENDPOINT when there is none.
        """
        endpoint = self._exact.get(head.path)
        if endpoint is None:
            raise Refusal(Reason.UNKNOWN_ENDPOINT)
        return endpoint

    def __iter__(self) -> Iterator[E]:
        return iter(self._exact.values())
