"""Rows of upstreams: those of the file first, then what waits for others."""

from datetime import timedelta
from pathlib import Path

from relay.admin.upstream_rows import (
    Configured,
    called_with,
    read_configured,
    upstream_rows,
    works_for,
)
from relay.config.upstream_settings import Upstream
from relay.core.secret import Secret
from relay.spool.audit import Actor
from relay.spool.overview import Waiting
from relay.spool.pauses import Pause
from tests.config.files import GOOD, VIPPS, good
from tests.harness.deliveries import RECEIVED
from tests.harness.wire import END, write_pair

CONFIGURED = Configured(
    {
        "ledger": Upstream.model_validate(
            {"url": "http://ledger.internal/in?token=s3cret", "rate": "50/s"}
        ),
        "billing": Upstream(url="http://billing.internal:8080/webhooks"),
    },
    {"ledger": ["midtrans"]},
)
NOTHING: dict[str, object] = {"auth": None, "tls": None, "headers": [], "final": []}


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
            "endpoints": ["midtrans"],
            **NOTHING,
        },
        {
            "name": "billing",
            "url": "http://billing.internal:8080/webhooks",
            "backlog": 0,
            "oldest_at": None,
            "breaker": "closed",
            "paused": True,
            "rate": None,
            "endpoints": [],
            **NOTHING,
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


def row_of(**keys: object) -> dict[str, object]:
    """Return the row of an upstream with these keys, whose certificate ends in June."""
    upstream = Upstream.model_validate({"url": "https://billing.internal/", **keys})
    (row,) = upstream_rows(Configured({"billing": upstream}, {}, {"billing": END}), {}, {}, {})
    return row


def test_the_kind_of_credentials_is_told_and_no_value_of_them() -> None:
    secret = Secret("canary")
    client = {"token_url": "https://a/?canary", "client_id": "canary", "client_secret": secret}
    for kind, auth in (
        ("bearer", {"bearer": secret}),
        ("basic", {"basic": {"user": "canary", "password": secret}}),
        ("oauth2", {"oauth2": client}),
    ):
        row = row_of(auth=auth, headers={"X-Api-Key": secret})
        assert (row["auth"], row["headers"]) == (kind, ["X-Api-Key"])
        assert "canary" not in f"{row} {called_with(row)}"


def test_what_it_is_called_with_is_one_line() -> None:
    files = {"ca": Path("/ca.pem"), "certificate": Path("/c.pem"), "key": Path("/k.pem")}
    row = row_of(
        auth={"bearer": Secret("canary")},
        tls={**files, "server_name": "b.internal"},
        rate="5/s",
        final=(400, 410),
    )
    assert row["tls"] == {
        "ca": True,
        "certificate": True,
        "certificate_ends": "2027-06-01T00:00:00.000Z",
        "server_name": "b.internal",
    }
    assert called_with(row) == (
        "bearer, own CA, client certificate until 2027-06-01, as b.internal, at most 5/s,"
        " final 400 410"
    )
    assert called_with(row_of()) == ""
    assert called_with({"name": "of an older relay", "rate": None}) == ""


async def test_endpoints_that_lead_to_it_are_told_by_routes_too(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    upstreams = {
        "billing": Upstream.model_validate(
            {"url": "https://a/", "tls": {"certificate": certificate, "key": key}}
        ),
        "ledger": Upstream.model_validate(
            {"url": "https://a/", "tls": {"certificate": tmp_path / "gone", "key": key}}
        ),
        "unused": Upstream(url="https://a/"),
    }
    routes = "\n    routes: [{when: {header: X-A, is: b}, upstreams: [ledger]}]"
    text = GOOD.replace("  billing:", "  ledger: {url: 'http://127.0.0.1:1/'}\n  billing:")
    endpoints = good(text.rstrip() + routes + "\n" + VIPPS).endpoints
    found = await read_configured(upstreams, endpoints)
    assert found.senders == {"billing": ["midtrans", "vipps"], "ledger": ["midtrans"]}
    assert found.certificates == {"billing": END}
    rows = upstream_rows(found, {}, {}, {})
    assert [works_for(row) for row in rows] == ["midtrans, vipps", "midtrans", "no endpoint"]


def test_of_many_endpoints_the_first_are_named() -> None:
    assert works_for({"endpoints": list("abcdefg")}) == "a, b, c, d, e and 2 more"
