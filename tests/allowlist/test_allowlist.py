from ipaddress import ip_address

import pytest

from relay.allowlist import AddressSource, Allowlist, StaticSource
from tests.contracts.source import SourceContract


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
