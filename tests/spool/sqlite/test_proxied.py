from functools import partial
from typing import cast

import apsw
import pytest

from relay.core.event import Delivered, ProxiedDelivery
from relay.core.request import Headers
from relay.spool import ProxiedRow
from relay.spool.sqlite import events, proxied
from relay.spool.sqlite.events import Tables
from tests.harness.deliveries import RECEIVED, verified
from tests.spool.sqlite.filling import miscounted
from tests.spool.sqlite.plans import plans, scans


def test_recording_reads_nothing_and_stores_once(
    connection: apsw.Connection, shared: Tables
) -> None:
    passed = ProxiedDelivery(verified(), Delivered(200), RECEIVED)
    twice = [proxied.proxied_row(passed) for _ in range(2)]
    record = partial(proxied.record_proxied, shared=shared, proxied=twice)
    assert scans(plans(connection, record)) == []
    assert len(events.fetch(connection, "SELECT 1 FROM events")) == 1
    assert miscounted(connection) == []


def test_what_waits_to_be_recorded_counts_its_body_and_its_header_fields() -> None:
    small = verified(body=b"{}")
    large = verified(body=b"{}" + b" " * 5000, headers=Headers((("X-Long", "v" * 20_000),)))
    [bytes_of_small, bytes_of_large] = [
        proxied.proxied_row(ProxiedDelivery(each, Delivered(200), RECEIVED))[2]
        for each in (small, large)
    ]
    assert bytes_of_large - bytes_of_small > 24_900


def test_one_that_cannot_be_recorded_keeps_all_of_its_batch_out(
    connection: apsw.Connection, shared: Tables
) -> None:
    rows = [
        proxied.proxied_row(ProxiedDelivery(verified(event_id=each), Delivered(200), RECEIVED))
        for each in "abc"
    ]
    spoilt = [rows[0], cast("ProxiedRow", (*rows[1][:6], "no bytes", *rows[1][7:])), rows[2]]
    with pytest.raises(apsw.ConstraintError):
        proxied.record_proxied(connection, shared, spoilt)
    assert events.fetch(connection, "SELECT 1 FROM events") == []
    shared.names.read(connection)
    proxied.record_proxied(connection, shared, rows)
    assert len(events.fetch(connection, "SELECT 1 FROM events")) == 3
    assert miscounted(connection) == []
