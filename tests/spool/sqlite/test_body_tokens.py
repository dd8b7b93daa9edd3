from functools import partial
from pathlib import Path

import apsw
import pytest

from relay.spool.sqlite import body_tokens, content, intake
from relay.spool.sqlite.events import Tables, Tally
from relay.spool.sqlite.intake import NewEvent
from relay.spool.sqlite.keyring import Keyring
from tests.harness.deliveries import verified

BODY = b'{"token": "a-secret-that-goes", "filler": "%b"}'


def store(connection: apsw.Connection, shared: Tables, *bodies: bytes) -> None:
    new = [
        NewEvent(
            verified(body=body, key=str(number), tokens=("/token",)),
            *(shared.digests, 0, lambda _: None),
        )
        for number, body in enumerate(bodies)
    ]
    with connection:
        shared.names.refresh(connection)
        intake.store(connection, shared, new, Tally())
    shared.names.committed()


@pytest.mark.parametrize("size", [10, 100_000])
def test_nothing_of_a_token_stays_in_the_file(
    connection: apsw.Connection, shared: Tables, path: Path, size: int
) -> None:
    store(connection, shared, BODY % (b"x" * size))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert b"a-secret-that-goes" in path.read_bytes()
    assert body_tokens.expire(connection, shared, 2**62, 10) == 1
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert b"a-secret-that-goes" not in path.read_bytes()
    assert not connection.pragma("secure_delete")


def test_a_damaged_event_stays_so_and_its_body_goes(
    connection: apsw.Connection, shared: Tables
) -> None:
    store(connection, shared, BODY % b"1", BODY % b"2")
    connection.execute("UPDATE events SET body = zeroblob(9) WHERE seq = 1")
    connection.execute("UPDATE events SET body = NULL WHERE seq = 2")
    assert body_tokens.expire(connection, shared, 2**62, 10) == 2
    rows = connection.execute(f"SELECT {content.EVENT} FROM events").fetchall()
    assert [row[-1] for row in rows] == [None, None]
    find = partial(Keyring().find, connection)
    found = [content.event(row, shared.names.by_number, 2, find) for row in rows]
    assert found == [None, None]


def test_what_is_old_is_found_by_an_index(connection: apsw.Connection) -> None:
    plan = connection.execute(f"EXPLAIN QUERY PLAN {body_tokens._OLD}", (0, 10)).fetchall()
    assert ["events_tokens" in str(row[-1]) for row in plan] == [True]
