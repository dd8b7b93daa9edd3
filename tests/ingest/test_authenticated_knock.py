"""Bodies of unknown addresses are looked at in turns, and who proves itself may cause look-ups."""

from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_address

import pytest

from relay.allowlist.registry import Knock
from relay.core.request import Headers, RequestHead
from relay.ingest.authenticated_knock import MAX_BODY, REMEMBERED_SECONDS, AuthenticatedKnock
from tests.harness.clock import ManualClock, run_loop_until
from tests.ingest.test_pipeline import HostOnOrder


def head(*fields: tuple[str, str]) -> RequestHead:
    return RequestHead(
        "POST", "/hook", Headers(fields), ip_address("192.0.2.1"), ManualClock().now()
    )


def turns(
    knock: AuthenticatedKnock, clients: Iterable[str], *fields: tuple[str, str]
) -> list[bool]:
    """Return which of these clients have a turn; each turn ends at once."""
    found = []
    for client in clients:
        found.append(knock.take_turn(head(*fields), ip_address(client)))
        knock.in_hand = 0
    return found


async def test_a_network_has_one_turn_a_second() -> None:
    clock = ManualClock()
    knock = AuthenticatedKnock(None, clock)
    clients = ["192.0.2.1", "192.0.2.200", "192.0.3.1"]
    clients += ["2001:db8:1::1", "2001:db8:1:ffff::9", "2001:db8:2::1", "::c000:201"]
    expected = [True, False, True, True, False, True, True]
    assert turns(knock, clients) == expected
    await clock.advance(0.9)
    assert turns(knock, clients) == [False] * len(clients)
    await clock.advance(0.1)
    assert turns(knock, clients) == expected


async def test_fifty_turns_a_second_and_sixteen_at_a_time() -> None:
    clock = ManualClock()
    knock = AuthenticatedKnock(None, clock)
    clients = [f"198.51.{number}.1" for number in range(60)]
    assert turns(knock, clients).count(True) == 50
    await clock.advance(1)
    at_once = [knock.take_turn(head(), ip_address(client)) for client in clients]
    assert at_once == [True] * 16 + [False] * 44
    knock.in_hand -= 1
    assert knock.take_turn(head(), ip_address(clients[16]))


@pytest.mark.parametrize(
    ("fields", "looked_at"),
    [
        ([("Content-Length", str(MAX_BODY))], True),
        ([("Content-Length", str(MAX_BODY + 1))], False),
        ([("Transfer-Encoding", "chunked")], True),
        ([("Expect", "100-continue")], False),
        ([("Content-Encoding", "identity")], True),
        ([("Content-Encoding", "gzip")], False),
        ([("Content-Encoding", "identity"), ("Content-Encoding", "gzip")], False),
    ],
)
def test_a_body_is_refused_by_its_head(fields: list[tuple[str, str]], looked_at: bool) -> None:
    knock = AuthenticatedKnock(None, ManualClock())
    assert turns(knock, ["192.0.2.1"], *fields) == [looked_at]
    # Who was refused has not had its turn.
    assert turns(knock, ["192.0.2.1"]) == [not looked_at]


async def test_the_same_signed_bytes_come_first_once_in_a_while() -> None:
    clock = ManualClock()
    knock = AuthenticatedKnock(None, clock)
    assert [knock.is_first(each) for each in (b"a", b"b", b"a")] == [True, True, False]
    await clock.advance(REMEMBERED_SECONDS)
    assert [knock.is_first(each) for each in (b"a", b"a")] == [True, False]
    for number in range(5000):
        knock.is_first(b"%d" % number)
    assert len(knock._proofs) <= 1024


async def test_a_look_up_that_is_not_due_comes_later() -> None:
    clock, host = ManualClock(), HostOnOrder()
    knock = AuthenticatedKnock(Knock([host], timedelta(seconds=1), clock), clock)
    await knock.look_up()
    assert host.generation == 1
    for _ in range(3):
        await knock.look_up()
    assert host.generation == 1
    await clock.advance(1)
    await run_loop_until(lambda: host.generation == 2)
    await clock.advance(5)
    assert host.generation == 2
    await knock.look_up()
    assert host.generation == 3
    await knock.look_up()
    await knock.close()
    await clock.advance(5)
    assert host.generation == 3


async def test_without_hosts_there_is_nothing_to_look_up() -> None:
    knock = AuthenticatedKnock(None, ManualClock())
    await knock.look_up()
    await knock.close()
