from pathlib import Path

import apsw
import pytest

from relay.core.clock import Clock
from relay.spool import Spool
from relay.spool.refusals import RefusalLimits, RefusalQuery
from relay.spool.sqlite import events, open_spool, refusals
from relay.spool.sqlite.keyring import Keyring
from tests.contracts.refusals import RefusalContract, refused
from tests.contracts.spool import Opener
from tests.harness.deliveries import RECEIVED


def plan(connection: apsw.Connection, statement: str, values: events.Parameters) -> str:
    found = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
    return "; ".join(str(row[3]) for row in found)


def test_keeping_is_all_or_nothing(connection: apsw.Connection) -> None:
    good, bad = refusals.parameters(refused(1)), refusals.parameters(refused(2))
    connection.execute("BEGIN")
    with pytest.raises(apsw.ConstraintError):
        refusals.keep(connection, Keyring(), [good, bad | {"reason": None}], RefusalLimits())
    connection.execute("COMMIT")
    assert refusals.page(connection, Keyring(), RefusalQuery()).refusals == ()


def test_what_could_be_read_as_another_split_has_another_fingerprint() -> None:
    one, other = refused(1, body=b"}x"), refused(1, body=b"x")
    assert refusals.parameters(one)["fingerprint"] != refusals.parameters(other)["fingerprint"]


def test_the_bounds_are_found_without_reading_bodies(connection: apsw.Connection) -> None:
    crowded = plan(connection, refusals._CROWDED, {"client": "192.0.2.1", "most": 1})
    # Few rows each, without what lies behind their size.
    assert "USING INDEX refusals_client" in crowded
    network: events.Parameters = {"first": "192.0.2.", "behind": "192.0.2.~", "most": 1}
    assert "USING INDEX refusals_client" in plan(connection, refusals._CROWDED_NETWORK, network)
    for share in (refusals._VOUCHED, refusals._UNVOUCHED):
        total = plan(connection, refusals._TOTAL.format(share=share), {})
        assert "USING COVERING INDEX refusals_size" in total
    old = plan(connection, refusals._PRUNE, {"before": events.micros(RECEIVED), "limit": 1})
    assert "refusals_received" in old


# ---- the store ------------------------------------------------------------------------------
# Refusals in a SQLite spool keep the contract, beside a spool that is at work.


class TestContract(RefusalContract):
    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        async def open_one_more(clock: Clock) -> Spool:
            return await open_spool(path, clock)

        return open_one_more
