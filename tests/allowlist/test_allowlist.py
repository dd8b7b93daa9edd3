from datetime import timedelta
from ipaddress import ip_address

import pytest

from relay.allowlist import MAX_PROVEN, AddressSource, Allowlist, ProvenAddresses, StaticSource
from tests.contracts.source import SourceContract
from tests.harness.clock import ManualClock


class TestContract(SourceContract):
    @pytest.fixture
    def source(self) -> AddressSource:
        return StaticSource("midtrans", [("103.208.23.0/24", "seed"), ("2a01:111::/32", "seed")])


def test_each_network_keeps_its_origin() -> None:
    source = StaticSource(
        "midtrans", [("103.208.23.0/24", "seed 2022-03-15"), ("34.87.92.33", "configuration")]
    )
    assert [(str(entry.network), entry.origin, entry.host) for entry in source.entries()] == [
        ("103.208.23.0/24", "seed 2022-03-15", None),
        ("34.87.92.33/32", "configuration", None),
    ]


def test_what_stands_in_several_lists_is_kept_once() -> None:
    one, other = (StaticSource(name, [("103.208.23.0/24", "seed")]) for name in ("a", "b"))
    assert one.entries()[0] is other.entries()[0]


def test_its_status_is_that_of_a_list() -> None:
    status = StaticSource("midtrans", [("103.208.23.0/24", "seed")]).status()
    assert (status.name, status.addresses) == ("midtrans", 1)
    assert (status.refreshed_at, status.last_error) == (None, None)


def test_a_network_with_host_bits_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"103\.208\.23\.6/24 has host bits"):
        StaticSource("midtrans", [("103.208.23.6/24", "seed")])


async def test_run_returns_at_once() -> None:
    await StaticSource("midtrans", []).run()


def test_the_allowlist_unites_sources_and_knows_which_are_empty() -> None:
    one = StaticSource("one", [("103.208.23.6", "narrow")])
    other = StaticSource("other", [("103.208.23.0/24", "wide")])
    allowlist = Allowlist([one, other, StaticSource("none", [])])

    entry = allowlist.match(ip_address("103.208.23.6"))
    assert entry is not None
    assert entry.origin == "wide"
    assert allowlist.match(ip_address("103.208.24.0")) is None
    assert [entry.origin for entry in allowlist.entries()] == ["narrow", "wide"]
    assert allowlist.unready() == ("none",)


def test_the_union_of_lists_holds_what_one_of_them_holds() -> None:
    dns = StaticSource("dns", [])
    lists = [
        Allowlist([StaticSource("one", [("192.0.2.0/25", "a")]), dns]),
        Allowlist([StaticSource("other", [("192.0.2.128/25", "b"), ("192.0.2.0/25", "c")]), dns]),
        Allowlist([]),
    ]
    union = Allowlist.union(lists)
    assert len(union.entries()) == 2
    assert union.match(ip_address("192.0.2.1"))
    assert union.match(ip_address("192.0.2.200"))
    assert union.match(ip_address("192.0.3.1")) is None
    assert Allowlist.union([]).match(ip_address("192.0.2.1")) is None


# ---- proven addresses -----------------------------------------------------------------------

ONE = ip_address("192.0.2.1")


async def test_an_address_is_proven_for_a_day_after_its_last_message() -> None:
    clock = ManualClock()
    proven = ProvenAddresses(clock)
    assert not proven.holds(ONE)
    proven.add(str(ONE), clock.monotonic())
    await clock.advance(timedelta(hours=23).total_seconds())
    assert proven.holds(ONE)
    proven[str(ONE)] = clock.monotonic()
    await clock.advance(timedelta(hours=23).total_seconds())
    assert proven.holds(ONE)
    await clock.advance(timedelta(hours=1, seconds=1).total_seconds())
    assert not proven.holds(ONE)


def test_of_what_was_passed_on_the_newest_messages_are_remembered() -> None:
    proven = ProvenAddresses(ManualClock())
    for number in range(MAX_PROVEN + 1):
        proven.add_passed(str(ONE), 0.0, f"message {number}")
    proven.clear()
    proven.add_passed(str(ONE), 0.0, "message 1")
    assert not proven
    proven.add_passed(str(ONE), 0.0, "message 0")
    assert proven.holds(ONE)


async def test_those_proven_longest_ago_are_forgotten_first() -> None:
    clock = ManualClock()
    proven = ProvenAddresses(clock)
    for number in range(MAX_PROVEN):
        proven.add(str(ip_address((10 << 24) + number)), clock.monotonic())
        await clock.advance(0.001)
    proven["10.0.0.0"] = clock.monotonic()
    proven.add(str(ONE), clock.monotonic())
    assert len(proven) == MAX_PROVEN // 2 + 1
    assert proven.holds(ONE)
    assert proven.holds(ip_address("10.0.0.0"))
    assert not proven.holds(ip_address("10.0.0.1"))
