"""The `AuditStore` contract: what people did, from where, to what.

`tests/contracts/audit.py` is the contract in executable form; every backend passes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

#: Acts that are kept; older ones are removed.
MAX_ACTS: Final = 100_000


class Actor(StrEnum):
    """What a request, or an act, is authenticated by: a token, a session, or this machine's user.

    Of tokens, only `TOKEN` may change anything.
    """

    TOKEN = "token"  # noqa: S105 - the name of one
    READ_TOKEN = "read_token"  # noqa: S105 - likewise
    SESSION = "session"
    CLI = "cli"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that a person did.

    origin: the address that it came from, or the user of this machine.
    name: `login`, `requeue`, `release`, `reload` and the like. detail: what it touched; JSON.
    """

    at: datetime
    actor: Actor
    origin: str
    name: str
    detail: Mapping[str, object]


class AuditStore(Protocol):
    """Keeps acts.

    Every method raises `SpoolUnavailable` when the store cannot do its work.
    """

    async def add(self, act: Act) -> None:
        """Keep one, beside the newest `MAX_ACTS`."""

    async def newest(
        self, limit: int, *, since: datetime | None = None, actor: Actor | None = None
    ) -> tuple[Act, ...]:
        """Return up to `limit`, the newest first.

        since: those of this time and later. actor: only those of this kind.
        """
