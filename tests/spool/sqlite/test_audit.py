"""Acts in a SQLite spool keep the contract, and their number is bounded."""

from pathlib import Path

import apsw
import pytest

from relay.core.clock import Clock
from relay.spool import Spool
from relay.spool.sqlite import audit, open_spool
from tests.contracts.audit import AuditContract, act
from tests.contracts.spool import Opener


def test_only_the_newest_are_kept(connection: apsw.Connection) -> None:
    connection.execute("BEGIN")
    for number in range(7):
        audit.add(connection, act(number), most=3)
    connection.execute("COMMIT")
    assert audit.newest(connection, 10) == (act(6), act(5), act(4))


def test_they_are_found_and_removed_without_a_scan(connection: apsw.Connection) -> None:
    for statement, values in (
        (audit._CROWDED, {"most": 3}),
        (
            audit._NEWEST,
            {"limit": 3, "since": 0, "actor": "cli"},
        ),
    ):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        assert not any("TEMP B-TREE" in str(row[3]) for row in plan)


class TestContract(AuditContract):
    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        async def open_one_more(clock: Clock) -> Spool:
            return await open_spool(path, clock)

        return open_one_more
