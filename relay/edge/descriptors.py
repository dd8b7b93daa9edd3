"""How many connections the process has file descriptors for."""

import resource
from typing import Final

#: What the spool, DNS, the private listener, log and libraries may hold open between them, and
#: connections that are on their way out.
_RESERVE: Final = 64


def room(*, available: int, others: int) -> int:
    """Return how many connections there may be when all else has its share.

    available: descriptors of this process. others: those that connections to upstreams may need.
    Where descriptors are few, half of them are left to everything else.
    """
    kept = min(_RESERVE + others, available // 2)
    return max(1, available - kept)


def descriptors() -> int:
    """Return how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft
