"""The `PauseStore` contract: the upstreams that are delivered nothing until a person says so.

`tests/contracts/pauses.py` is the contract in executable form; every backend passes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from relay.spool.audit import Actor


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when an upstream is paused, by the wall clock, and on whose behalf."""

    at: datetime
    actor: Actor


class PauseStore(Protocol):
    """Keeps which upstreams are paused; workers of every process on the spool read it.

    A name need not be configured, nor have had any event. Every method raises `SpoolUnavailable`
    when the store cannot do its work.
    """

    async def all(self) -> Mapping[str, Pause]:
        """Return the pauses by upstream, in the order of the names."""

    async def pause(self, upstream: str, actor: Actor, at: datetime) -> bool:
        """Pause an upstream; return False if it was paused already, which stays as it is."""

    async def resume(self, upstream: str) -> bool:
        """End a pause; return False if there was none."""
