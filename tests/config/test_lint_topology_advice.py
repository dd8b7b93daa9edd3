"""Which networks add nothing."""

import pytest
from netaddr import IPNetwork

from relay.allowlist.networks import (
    covers_all,
    families_mostly_covered,
    redundant_positions,
)


def networks(*texts: str) -> list[IPNetwork]:
    return [IPNetwork(text) for text in texts]


def test_everyone_is_every_address_of_one_kind() -> None:
    assert covers_all(IPNetwork("0.0.0.0/0"))
    assert covers_all(IPNetwork("::/0"))
    assert not covers_all(IPNetwork("0.0.0.0/1"))


@pytest.mark.parametrize(
    ("texts", "kinds"),
    [
        ((), []),
        (("0.0.0.0/1", "128.0.0.0/1"), ["IPv4"]),
        (("0.0.0.0/1",), ["IPv4"]),
        (("0.0.0.0/2", "128.0.0.0/2"), ["IPv4"]),
        (("0.0.0.0/2", "128.0.0.0/3", "192.0.0.0/4", "208.0.0.0/5"), []),
        (("0.0.0.0/2", "0.0.0.0/2", "1.0.0.0/8"), []),
        (("8000::/1", "fc00::/7", "::/4"), []),
        (("2000::/3",), ["IPv6"]),
        (("2000::/5", "2800::/5"), ["IPv6"]),
        (("2000::/5", "3000::/6"), []),
        (("::/1", "8000::/1"), ["IPv6"]),
        (("::/1", "128.0.0.0/1"), ["IPv4", "IPv6"]),
    ],
)
def test_half_of_a_kind_is_mostly_everyone(texts: tuple[str, ...], kinds: list[str]) -> None:
    assert [*families_mostly_covered(networks(*texts))] == kinds


def test_the_narrower_of_two_is_repeated() -> None:
    wide, narrow = networks("192.0.2.0/24", "192.0.2.7")
    assert [*redundant_positions([narrow, wide], ())] == [(0, wide)]
    assert [*redundant_positions([wide, narrow], ())] == [(1, wide)]
    assert [*redundant_positions([narrow], [wide])] == [(0, wide)]
    assert [*redundant_positions([wide], [narrow])] == []


def test_of_equal_networks_the_first_stays() -> None:
    one = IPNetwork("192.0.2.7")
    assert [*redundant_positions([one, one, one], ())] == [(1, one), (2, one)]
    assert [*redundant_positions([one], [one])] == [(0, one)]


def test_names_are_passed_over_and_counted() -> None:
    wide, narrow = networks("192.0.2.0/24", "192.0.2.7")
    assert [*redundant_positions(["x.example", wide, "x.example", narrow], ())] == [(3, wide)]
