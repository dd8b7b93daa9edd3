"""What is told of besides deliveries and attempts."""

import io
from ipaddress import ip_address

import orjson
import pytest

from relay.core.errors import SpoolUnavailable
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.telemetry.test_telemetry import Watched


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_history_that_is_lost_is_counted_and_told(watched: Watched) -> None:
    watched.telemetry.init_series({"midtrans": "midtrans", "vipps": "vipps"}, [])
    watched.telemetry.history_lost("midtrans", "evt_1", "too much waits to be written")
    assert watched.value('history_lost_total{endpoint="midtrans"}') == 1
    assert watched.value('history_lost_total{endpoint="vipps"}') == 0
    (line,) = watched.lines()
    assert (line["event"], line["level"], line["id"]) == ("history_lost", "error", "evt_1")


def test_dns_and_knocks_are_counted(watched: Watched) -> None:
    watched.telemetry.looked_up("a.example", "servfail")
    watched.telemetry.looked_up("a.example", "ok")
    watched.telemetry.changed("a.example", "added", ip_address("104.45.17.199"))
    watched.telemetry.knocked("vipps", "found")
    assert watched.value('dns_lookups_total{host="a.example",result="servfail"}') == 1
    assert watched.value('allowlist_changes_total{change="added",host="a.example"}') == 1
    assert watched.value('allowlist_knocks_total{endpoint="vipps",result="found"}') == 1
    assert [line["event"] for line in watched.lines()] == [
        *("dns_lookup", "dns_lookup", "allowlist_changed")
    ]


async def test_a_failing_look_up_is_told_when_it_changes_and_once_a_minute() -> None:
    clock = ManualClock()
    stream = io.BytesIO()
    writer = LogWriter(stream)
    telemetry = Telemetry(Log(writer, clock))
    for result, times in (("ok", 2), ("timeout", 5), ("servfail", 9), ("ok", 2), ("timeout", 1)):
        for _ in range(times):
            telemetry.looked_up("a.example", result)
            telemetry.looked_up("b.example", "ok")
            await clock.advance(10)
    writer.close()
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    said = [(line["host"], line["level"], line["result"], line.get("count")) for line in lines]
    assert said == [
        ("a.example", "warning", "timeout", None),
        ("a.example", "warning", "servfail", None),
        ("a.example", "warning", "servfail", 6),
        ("a.example", "info", "ok", None),
        ("a.example", "warning", "timeout", None),
    ]


def test_growth_of_a_host_is_counted_and_told(watched: Watched) -> None:
    watched.telemetry.grown("a.example", 2, 66)
    assert watched.value('allowlist_growth_total{host="a.example"}') == 1
    (line,) = watched.lines()
    assert (line["event"], line["level"]) == ("allowlist_grown", "warning")
    assert (line["host"], line["before"], line["addresses"]) == ("a.example", 2, 66)


def test_expected_trouble_has_no_traceback_and_the_unexpected_has(watched: Watched) -> None:
    watched.telemetry.dispatch_error("billing", "evt_1", SpoolUnavailable("disk full"))
    watched.telemetry.dispatch_error("billing", None, KeyError("x"))
    expected, unexpected = watched.lines()
    assert "exception" not in expected
    assert "KeyError" in unexpected["exception"]


def test_a_damaged_event_is_a_dead_letter_and_a_warning(watched: Watched) -> None:
    watched.telemetry.event_corrupt("billing", "evt_1")
    assert watched.value('dead_letters_total{upstream="billing"}') == 1
    (line,) = watched.lines()
    assert (line["event"], line["level"], line["id"]) == ("event_damaged", "warning", "evt_1")


def test_what_could_not_be_remembered_is_an_error(watched: Watched) -> None:
    watched.telemetry.dns_cache_unsaved("dns.json: No such file or directory")
    assert watched.lines()[0]["level"] == "error"


def test_what_copies_revive_is_counted_by_endpoint(watched: Watched) -> None:
    watched.telemetry.init_series({"midtrans": "midtrans", "vipps": "vipps"}, ["billing"])
    watched.telemetry.revived("midtrans")
    assert watched.value('revived_total{endpoint="midtrans"}') == 1
    assert watched.value('revived_total{endpoint="vipps"}') == 0


def test_what_goes_nowhere_is_counted_by_endpoint(watched: Watched) -> None:
    watched.telemetry.init_series({"midtrans": "midtrans", "vipps": "vipps"}, ["billing"])
    watched.telemetry.unrouted("midtrans")
    assert watched.value('unrouted_total{endpoint="midtrans"}') == 1
    assert watched.value('unrouted_total{endpoint="vipps"}') == 0


def test_connections_that_give_way_are_counted_and_told_once_a_minute(watched: Watched) -> None:
    assert watched.value("connections_evicted_total") == 0
    for _ in range(3):
        watched.telemetry.evicted()
    assert watched.value("connections_evicted_total") == 3
    assert [(line["event"], line["number"]) for line in watched.lines()] == [
        ("connections_evicted", 1)
    ]


def test_bodies_that_go_undelivered_are_counted_until_they_are_gone(watched: Watched) -> None:
    watched.telemetry.init_series({"midtrans": "midtrans", "vipps": "vipps"}, ["billing"])
    watched.telemetry.undelivered_expiring({"midtrans": 2, "gone": 1})
    assert watched.value('undelivered_expiring{endpoint="midtrans"}') == 2
    assert watched.value('undelivered_expiring{endpoint="gone"}') == 1
    assert watched.value('undelivered_expiring{endpoint="vipps"}') == 0
    watched.telemetry.undelivered_removed({"midtrans": 2})
    watched.telemetry.undelivered_expiring({})
    for name in ("midtrans", "gone"):
        assert watched.value(f'undelivered_expiring{{endpoint="{name}"}}') == 0
    assert watched.value('undelivered_removed_total{endpoint="midtrans"}') == 2
    (line,) = watched.lines()
    assert (line["event"], line["level"], line["events"]) == ("undelivered_removed", "warning", 2)


def test_a_pause_and_its_end_are_told(watched: Watched) -> None:
    watched.telemetry.upstream_paused("billing", paused=True)
    watched.telemetry.upstream_paused("billing", paused=False)
    told = [(line["event"], line["upstream"]) for line in watched.lines()]
    assert told == [("upstream_paused", "billing"), ("upstream_resumed", "billing")]
