"""Events in a spool's tables, put there by the statements alone."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import apsw

from relay.core.event import Decision, Delivered, Lease
from relay.core.request import VerifiedDelivery
from relay.spool import Claimed, PutResult, Settlement
from relay.spool.sqlite import events, intake, queue
from relay.spool.sqlite.events import Tables, Tally
from relay.spool.sqlite.intake import NewEvent
from relay.spool.sqlite.queue import Settlements
from tests.harness.deliveries import RECEIVED

LEASE = timedelta(seconds=30)


def ignore(_: object) -> None:
    """Take an answer that nobody waits for."""


def new(shared: Tables, event: VerifiedDelivery, now: datetime = RECEIVED) -> NewEvent:
    return NewEvent(event, shared.digests, events.micros(now), ignore)


def put(
    connection: apsw.Connection, shared: Tables, *deliveries: VerifiedDelivery
) -> list[PutResult | None]:
    """Store these together; return what each has become, None for an error."""
    made, tally = [new(shared, each) for each in deliveries], Tally()
    with connection:
        shared.names.refresh(connection)
        intake.store(connection, shared, made, tally)
        tally.write(connection)
    return [each.result for each in made]


def claim(
    connection: apsw.Connection,
    shared: Tables,
    *,
    at: datetime = RECEIVED,
    limit: int = 10,
    ordered: bool = False,
    upstream: str = "billing",
) -> Claimed:
    shared.names.refresh(connection)
    return queue.claim(
        connection,
        shared,
        upstream,
        limit,
        now=at,
        lease=LEASE,
        ordered=ordered,
        opened_at=at,
    )


def settle(
    connection: apsw.Connection, shared: Tables, leases: Sequence[Lease], decision: Decision
) -> Settlements:
    """Settle these together."""
    given = [Settlement(lease, decision, Delivered(200)) for lease in leases]
    group, tally = Settlements(given, events.micros(RECEIVED), ignore), Tally()
    with connection:
        shared.names.refresh(connection)
        queue.settle(connection, shared, [group], tally)
        tally.write(connection)
    return group


def told(connection: apsw.Connection, names: str, key: str) -> events.Row:
    """Return these columns of `history` for the one event of a key."""
    [row] = events.fetch(connection, f"SELECT {names} FROM history WHERE key = ?", (key,))
    return row


def miscounted(connection: apsw.Connection) -> list[events.Row]:
    """Return what `tallies` says and counting does not, and the other way round."""
    counted = """
        SELECT events.endpoint, state, count(*) FROM events JOIN (
            SELECT seq, -2 AS state FROM queue
            UNION ALL SELECT seq, -1 FROM inhand
            UNION ALL SELECT seq, state FROM settled
        ) USING (seq) GROUP BY 1, 2
    """
    kept = "SELECT endpoint, status, deliveries FROM tallies WHERE deliveries <> 0"
    return events.fetch(
        connection,
        f"SELECT * FROM (SELECT * FROM ({counted}) EXCEPT {kept})"
        f" UNION ALL SELECT * FROM ({kept} EXCEPT SELECT * FROM ({counted}))",
    )
