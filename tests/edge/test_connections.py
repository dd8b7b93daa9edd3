"""Connections are limited in all and per address, but not among the clients of one proxy."""

from ipaddress import ip_address

import pytest

from relay.core.errors import Reason, Refusal
from relay.edge.connections import Connections, InFlight

ONE, TWO, PROXY = (ip_address(f"192.0.2.{n}") for n in (1, 2, 9))


def limited(total: int = 10, per_address: int = 2) -> Connections:
    return Connections(
        total=total, per_address=per_address, shares_address=lambda address: address == PROXY
    )


def test_one_address_may_not_have_more_than_its_share() -> None:
    connections = limited()
    assert [connections.enter(ONE) for _ in range(3)] == [True, True, False]
    assert connections.enter(TWO)


def test_who_leaves_makes_room() -> None:
    connections = limited()
    for _ in range(3):
        connections.enter(ONE)
    connections.leave(ONE)
    connections.leave(ONE)
    assert connections.enter(ONE)
    assert len(connections) == 2


def test_a_trusted_proxy_is_bound_by_the_total_alone() -> None:
    connections = limited(total=5)
    assert [connections.enter(PROXY) for _ in range(6)] == [True] * 5 + [False]


def test_other_limits_hold_for_new_connections() -> None:
    connections = limited(total=3, per_address=2)
    assert [connections.enter(ONE) for _ in range(2)] == [True, True]
    connections.reconfigure(total=10, per_address=3)
    assert [connections.enter(ONE) for _ in range(2)] == [True, False]
    connections.reconfigure(total=4, per_address=10)
    assert not connections.enter(TWO)
    assert len(connections) == 5


def test_no_limit_is_above_the_ceiling() -> None:
    connections = Connections(total=1, per_address=9, shares_address=lambda _: False, ceiling=2)
    assert [connections.enter(ONE) for _ in range(2)] == [True, False]
    connections.reconfigure(total=10, per_address=9)
    connections.leave(ONE)
    assert [connections.enter(ONE) for _ in range(2)] == [True, False]


def test_one_client_may_not_have_more_in_hand_than_its_share() -> None:
    connections = limited()
    with (
        InFlight(connections) as first,
        InFlight(connections) as second,
        InFlight(connections) as third,
    ):
        first.of(ONE)
        second.of(ONE)
        with pytest.raises(Refusal) as caught:
            third.of(ONE)
        assert caught.value.reason is Reason.TOO_MANY_CONNECTIONS
        with InFlight(connections) as another:
            another.of(TWO)


def test_what_is_answered_is_in_hand_no_more() -> None:
    connections = limited()
    for _ in range(5):
        with InFlight(connections) as request:
            request.of(ONE)
        # Nobody is counted for a request whose client was never known.
        with InFlight(connections):
            pass
    connections.reconfigure(total=10, per_address=1)
    with InFlight(connections) as first, InFlight(connections) as second:
        first.of(ONE)
        with pytest.raises(Refusal):
            second.of(ONE)
    with InFlight(connections) as request:
        request.of(ONE)


def test_all_addresses_of_one_ipv6_network_share_a_limit() -> None:
    connections = limited()
    one, other = "2001:db8:0:1::", "2001:db8:0:2::"
    found = [connections.enter(ip_address(f"{one}{n:x}")) for n in (1, 0xFFFF, 3)]
    assert found == [True, True, False]
    assert connections.enter(ip_address(f"{other}1"))
    for n in (3, 1, 0xFFFF):
        connections.leave(ip_address(f"{one}{n:x}"))
    assert connections.enter(ip_address(f"{one}9"))
    assert len(connections) == 2
    with (
        InFlight(connections) as first,
        InFlight(connections) as second,
        InFlight(connections) as third,
    ):
        first.of(ip_address(f"{one}1"))
        second.of(ip_address(f"{one}2"))
        with pytest.raises(Refusal):
            third.of(ip_address(f"{one}3"))
