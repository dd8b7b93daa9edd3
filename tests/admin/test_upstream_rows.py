"""Rows of upstreams: those of the file first, then what waits for others."""

from datetime import timedelta

from relay.admin.upstream_rows import upstream_rows
from relay.config.upstream_settings import Upstream
from relay.spool.audit import Actor
from relay.spool.overview import Waiting
from relay.spool.pauses import Pause
from tests.harness.deliveries import RECEIVED

CONFIGURED = {
    "ledger": Upstream.model_validate(
        {"url": "http://ledger.internal/in?token=s3cret", "rate": "50/s"}
    ),
    "billing": Upstream(url="http://billing.internal:8080/webhooks"),
}


def test_a_row_tells_what_waits_and_whether_it_goes_out() -> None:
    backlog = {"ledger": Waiting(7, RECEIVED)}
    pauses = {"billing": Pause(RECEIVED + timedelta(hours=1), Actor.CLI)}
    assert upstream_rows(CONFIGURED, backlog, pauses, {"ledger": True, "billing": False}) == [
        {
            "name": "ledger",
            "url": "http://ledger.internal/in?…",
            "backlog": 7,
            "oldest_at": "2026-01-05T12:00:00.000Z",
            "breaker": "open",
            "paused": False,
            "rate": "50/s",
        },
        {
            "name": "billing",
            "url": "http://billing.internal:8080/webhooks",
            "backlog": 0,
            "oldest_at": None,
            "breaker": "closed",
            "paused": True,
            "rate": None,
        },
    ]


def test_what_waits_for_an_upstream_that_is_gone_has_a_row_and_so_has_its_pause() -> None:
    backlog = {"gone": Waiting(1, RECEIVED)}
    rows = upstream_rows(CONFIGURED, backlog, {"away": Pause(RECEIVED, Actor.TOKEN)}, {})
    assert [row["name"] for row in rows] == ["ledger", "billing", "away", "gone"]
    assert [row["url"] for row in rows][2:] == [None, None]
    assert [row["paused"] for row in rows] == [False, False, True, False]
    assert [row["rate"] for row in rows] == ["50/s", None, None, None]
    assert {row["breaker"] for row in rows} == {None}
