"""One steady time for all processes that share a spool.

Each process could read the wall clock when it starts. Once that clock has been set in between, they
would disagree about when a lease ends, and deliver each other's events. So the first process since
the machine was started says what the time was, and the others take its word.
"""

from typing import Final

import apsw

from relay.clock import Epoch
from relay.spool._sqlite import rows

_KNOWN: Final = "SELECT boot, began FROM epoch"

_FIRST: Final = """
INSERT INTO epoch (one, boot, began) VALUES (1, :boot, :began)
ON CONFLICT (one) DO UPDATE SET boot = excluded.boot, began = excluded.began
WHERE boot <> excluded.boot
"""


def agree(connection: apsw.Connection, ours: Epoch) -> Epoch:
    """Return what steady time is reckoned by here: ours, if nobody said anything since the start.

    A spool that cannot be written now, such as on a full disk, keeps nobody from starting: then it
    is ours as well.
    """
    try:
        if _known(connection).get(ours.boot) is None:
            said = {"boot": ours.boot, "began": rows.micros(ours.began)}
            connection.execute(_FIRST, said)
        began = _known(connection)[ours.boot]
    except apsw.Error:
        return ours
    return Epoch(ours.boot, rows.moment(began))


def _known(connection: apsw.Connection) -> dict[str, int]:
    return {str(boot): int(began) for boot, began in rows.fetch(connection, _KNOWN, ())}
