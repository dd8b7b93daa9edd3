"""What needs a person: a table of facts, and what is said of each."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.admin.attention import Attention, Facts, Kind, attention
from relay.allowlist import SourceStatus
from relay.core.rate_limit import Rate
from relay.spool.overview import Overview, Waiting
from tests.harness.deliveries import RECEIVED

NOW = RECEIVED + timedelta(days=1)
AGO = NOW - timedelta(minutes=5)
LONG_AGO = NOW - timedelta(hours=3)
OVERVIEW = Overview(size=1, free=10**10)
FACTS = Facts(NOW, OVERVIEW, configured=("billing", "ledger"))
PAUSED = {"billing": LONG_AGO}


def host(ago: timedelta | None, error: str | None = None) -> SourceStatus:
    return SourceStatus("hooks.example.com", 3, None if ago is None else NOW - ago, error)


def facts(overview: dict[str, Any] | None = None, **changes: Any) -> Facts:
    return replace(FACTS, overview=replace(OVERVIEW, **(overview or {})), **changes)


def waiting(name: str = "billing", number: int = 7, **changes: Any) -> Facts:
    since = changes.pop("since", AGO)
    return facts({"backlog": {name: Waiting(number, since)}}, **changes)


CASES = {
    "dead": (
        facts({"dead": {"vipps": 1, "midtrans": 4}, "dead_events": 5, "dead_since": AGO}),
        Attention(
            Kind.DEAD,
            5,
            "5 events are dead (midtrans 4, vipps 1): mend the cause, then requeue",
            AGO,
        ),
    ),
    "many endpoints": (
        facts({"dead": dict.fromkeys("abcde", 1), "dead_events": 5, "dead_since": AGO}),
        Attention(
            Kind.DEAD,
            5,
            "5 events are dead (a 1, b 1, c 1 and 2 more): mend the cause, then requeue",
            AGO,
        ),
    ),
    "dead at several upstreams each": (
        facts({"dead": {"vipps": 2, "midtrans": 3}, "dead_events": 2, "dead_since": AGO}),
        Attention(
            Kind.DEAD,
            2,
            "2 events are dead at 5 destinations (midtrans 3, vipps 2): mend the cause, then"
            " requeue",
            AGO,
        ),
    ),
    "held at both its upstreams": (
        facts({"held": {"midtrans": 2}, "held_events": 1, "held_since": AGO}),
        Attention(
            Kind.HELD,
            1,
            "1 event is held at 2 destinations (midtrans 2): look, then requeue what is right",
            AGO,
        ),
    ),
    "held": (
        facts({"held": {"midtrans": 1}, "held_events": 1, "held_since": AGO}),
        Attention(
            Kind.HELD, 1, "1 event is held (midtrans 1): look, then requeue what is right", AGO
        ),
    ),
    "damaged, which are dead, too": (
        facts(
            {
                "dead": {"midtrans": 2},
                "dead_events": 2,
                "dead_since": AGO,
                "damaged": Waiting(2, AGO),
            }
        ),
        Attention(
            Kind.DAMAGED, 2, "2 events are damaged; the provider's next copy replaces it", AGO
        ),
    ),
    "refused": (
        facts({"refused": Waiting(12, AGO)}),
        Attention(
            Kind.REFUSED, 12, "12 deliveries of the last 24 h refused, and kept: see why", AGO
        ),
    ),
    "unknown but signed": (
        facts({"unknown_but_signed": Waiting(1, AGO)}),
        Attention(
            Kind.UNKNOWN_BUT_SIGNED,
            1,
            "1 delivery whose signature fits came from unknown addresses in 7 days: release what"
            " is the provider's",
            AGO,
        ),
    ),
    "upstream missing": (
        waiting("gone", 1, paused={"gone": AGO}, open_breakers=("gone",)),
        Attention(
            Kind.UPSTREAM_MISSING,
            1,
            'upstream "gone" is not configured, and 1 event waits: name it again',
            AGO,
        ),
    ),
    "upstream paused, and down": (
        waiting(paused=PAUSED, open_breakers=("billing",)),
        Attention(Kind.UPSTREAM_PAUSED, 7, 'upstream "billing" is paused; 7 events wait', LONG_AGO),
    ),
    "upstream paused, and nothing waits": (
        facts(paused=PAUSED),
        Attention(
            Kind.UPSTREAM_PAUSED,
            0,
            'upstream "billing" is paused; nothing waits for it',
            LONG_AGO,
        ),
    ),
    "upstream paused by the file": (
        facts(paused={"ledger": None}),
        Attention(Kind.UPSTREAM_PAUSED, 0, 'upstream "ledger" is paused; nothing waits for it'),
    ),
    "upstream down": (
        waiting(open_breakers=("billing",), since=LONG_AGO),
        Attention(
            Kind.UPSTREAM_DOWN,
            7,
            'upstream "billing" has failed several times in a row; 7 events wait',
            LONG_AGO,
        ),
    ),
    "backlog of long ago behind a rate": (
        replace(waiting(since=LONG_AGO), rates={"billing": Rate(5, 3600)}),
        Attention(
            Kind.BACKLOG_OLD,
            7,
            '7 events wait for upstream "billing"; the oldest came 3 h ago; at its rate of 5/h the'
            " last one goes in 84 min",
            LONG_AGO,
        ),
    ),
    "backlog of long ago": (
        waiting(since=LONG_AGO),
        Attention(
            Kind.BACKLOG_OLD,
            7,
            '7 events wait for upstream "billing"; the oldest came 3 h ago',
            LONG_AGO,
        ),
    ),
    "a host that never answered": (
        facts(hosts=(host(None, "nxdomain"),)),
        Attention(Kind.HOST_UNANSWERED, 1, "host hooks.example.com was never answered: nxdomain"),
    ),
    "a host that answers no more": (
        facts(hosts=(host(timedelta(days=2), "timeout"),)),
        Attention(
            Kind.ALLOWLIST_STALE,
            3,
            "the addresses of hooks.example.com were last confirmed 2 d ago: timeout",
            NOW - timedelta(days=2),
        ),
    ),
    "report mode": (
        facts(reporting=("midtrans", "vipps")),
        Attention(
            Kind.REPORT_MODE, 2, "mode: report; nobody is refused by address at midtrans, vipps"
        ),
    ),
    "little space": (
        facts({"free": 123_456_789}),
        Attention(Kind.DISK_LOW, 123, "123 MB are left on the volume of the spool"),
    ),
    "a certificate that ends": (
        facts(certificates={"0.0.0.0:8443": NOW + timedelta(days=13, hours=1)}),
        Attention(Kind.CERTIFICATE_ENDS, 13, "the certificate of 0.0.0.0:8443 ends in 13 d"),
    ),
    "a certificate that has ended": (
        facts(certificates={"0.0.0.0:8443": AGO}),
        Attention(Kind.CERTIFICATE_ENDS, 0, "the certificate of 0.0.0.0:8443 has ended", AGO),
    ),
    "a certificate for an upstream that ends": (
        facts(client_certificates={"billing": NOW + timedelta(days=13, hours=1)}),
        Attention(Kind.CERTIFICATE_ENDS, 13, "the certificate that billing is shown ends in 13 d"),
    ),
    "a certificate for an upstream that has ended": (
        facts(client_certificates={"billing": AGO}),
        Attention(Kind.CERTIFICATE_ENDS, 0, "the certificate that billing is shown has ended", AGO),
    ),
    "a reload that was refused": (
        facts(reload_refused_at=AGO),
        Attention(
            Kind.RELOAD_REFUSED,
            1,
            "the file was not taken, the configuration before stays in force: `relay check`",
            AGO,
        ),
    ),
    "a clock that was set back": (
        facts(last_delivery=NOW + timedelta(seconds=90)),
        Attention(
            Kind.CLOCK_OFF, 90, "the last delivery is 1 min ahead of the clock: it was set back"
        ),
    ),
    "a spool that cannot be read": (
        replace(FACTS, overview=None, problem="the spool is closed", paused={}),
        Attention(Kind.SPOOL_UNAVAILABLE, 1, "the spool is closed"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_amiss_is_said_in_a_sentence_with_its_number(case: str) -> None:
    given, said = CASES[case]
    assert attention(given) == [said]


@pytest.mark.parametrize(
    "quiet",
    [
        FACTS,
        waiting(since=NOW - timedelta(minutes=15)),
        facts({"free": 1_000_000_000}),
        facts(hosts=(host(timedelta(hours=1), "timeout"), host(None), host(timedelta()))),
        facts(certificates={"a": NOW + timedelta(days=14)}),
        facts(last_delivery=NOW + timedelta(seconds=60)),
        facts(paused={"gone": AGO}, open_breakers=("elsewhere",)),
    ],
)
def test_what_is_as_usual_needs_nobody(quiet: Facts) -> None:
    assert attention(quiet) == []


def test_the_most_urgent_comes_first() -> None:
    given = facts(
        {"dead": {"a": 1}, "dead_events": 1, "refused": Waiting(1, AGO), "free": 5},
        reporting=("a",),
        reload_refused_at=AGO,
        open_breakers=("ledger",),
    )
    assert [each.kind for each in attention(given)] == [
        *(Kind.DISK_LOW, Kind.UPSTREAM_DOWN, Kind.DEAD, Kind.REFUSED, Kind.REPORT_MODE),
        Kind.RELOAD_REFUSED,
    ]


def test_the_kinds_are_a_closed_list() -> None:
    assert {said.kind for _, said in CASES.values()} == set(Kind)


@pytest.mark.parametrize(
    ("waited", "said"),
    [
        (timedelta(minutes=59), "59 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=47), "47 h"),
        (timedelta(hours=48), "2 d"),
    ],
)
def test_a_time_is_told_in_its_largest_unit(waited: timedelta, said: str) -> None:
    [found] = attention(waiting(since=NOW - waited))
    assert found.detail.endswith(f"came {said} ago")
