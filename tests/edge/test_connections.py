"""Connections are limited in all and per address, but not among the clients of one proxy."""

from ipaddress import ip_address

from relay.edge.connections import Connections

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
    connections.become(total=10, per_address=3)
    assert [connections.enter(ONE) for _ in range(2)] == [True, False]
    connections.become(total=4, per_address=10)
    assert not connections.enter(TWO)
    assert len(connections) == 5


def test_no_limit_is_above_the_ceiling() -> None:
    connections = Connections(total=1, per_address=9, shares_address=lambda _: False, ceiling=2)
    assert [connections.enter(ONE) for _ in range(2)] == [True, False]
    connections.become(total=10, per_address=9)
    connections.leave(ONE)
    assert [connections.enter(ONE) for _ in range(2)] == [True, False]
