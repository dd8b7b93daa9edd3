"""Acts in JSON, and their filters."""

import re

import pytest

from relay.admin.audit_json import AuditQuery, audit_json, parse_audit_query
from relay.spool.audit import Act, Actor
from tests.harness.deliveries import RECEIVED


def test_an_act_tells_who_did_what_from_where() -> None:
    act = Act(RECEIVED, Actor.CLI, "maria", "requeue", {"events": ["evt_1"]})
    assert audit_json([act]) == {
        "audit": [
            {
                "at": "2026-01-05T12:00:00.000Z",
                "act": "requeue",
                "actor": "cli",
                "origin": "maria",
                "detail": {"events": ["evt_1"]},
            }
        ]
    }


def test_filters_are_written_as_for_events() -> None:
    given = {"since": "2026-01-05T12:00:00Z", "actor": "session", "limit": "7"}
    assert parse_audit_query(given, RECEIVED) == AuditQuery(RECEIVED, Actor.SESSION, 7)
    assert parse_audit_query({}, RECEIVED) == AuditQuery(None, None, 100)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"who": "me"}, 'no filter "who"; there are: since, actor, limit'),
        ({"actor": "me"}, 'no actor "me"; there are: token, read_token, session, cli'),
        ({"since": "never"}, 'since: "never"'),
        ({"limit": "0"}, 'limit: "0"'),
    ],
)
def test_a_filter_that_is_none_is_told_what_to_write(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_audit_query(given, RECEIVED)
