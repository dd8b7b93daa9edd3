"""What is kept of attempts: few of many, and their answers sealed where there is a key."""

import apsw
import pytest

from relay.core.event import Rejected, RetryAt
from relay.core.sealing import SealingKey
from relay.spool import Settlement
from relay.spool.sqlite import attempts, events
from relay.spool.sqlite.events import Tables
from tests.contracts.sealing import K0
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import claim, put


@pytest.mark.parametrize("keys", [[], [K0]])
def test_an_answer_is_read_as_it_was_and_sealed_where_there_is_a_key(
    connection: apsw.Connection, shared: Tables, keys: list[SealingKey]
) -> None:
    shared.keyring.use(connection, keys)
    put(connection, shared, verified(event_id="first"))
    [lease] = claim(connection, shared).leases
    settled = Settlement(lease, RetryAt(RECEIVED), Rejected(500), 7, b"sorry")
    attempts.keep_attempts(connection, shared.keyring, [(1, 2, 1, 5, settled)])
    [(number, answer)] = events.fetch(connection, "SELECT sealed_by, answer FROM attempts")
    assert (number, answer == b"sorry") == ((1, False) if keys else (None, True))
    [found] = attempts.attempts_of(connection, shared.keyring, "first")
    assert (found.answer, found.status, found.upstream) == (b"sorry", 500, "billing")


def test_an_answer_belongs_to_its_attempt(connection: apsw.Connection, shared: Tables) -> None:
    shared.keyring.use(connection, [K0])
    put(connection, shared, verified(event_id="first"))
    [lease] = claim(connection, shared).leases
    settled = Settlement(lease, RetryAt(RECEIVED), Rejected(500), 7, b"sorry")
    attempts.keep_attempts(connection, shared.keyring, [(1, 2, 1, 5, settled)])
    connection.execute("UPDATE attempts SET number = 2")
    assert [each.answer for each in attempts.attempts_of(connection, shared.keyring, "first")] == [
        None
    ]


def test_what_is_no_id_has_no_attempts(connection: apsw.Connection, shared: Tables) -> None:
    assert attempts.attempts_of(connection, shared.keyring, "none") == ()
