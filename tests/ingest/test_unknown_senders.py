"""What proves itself from an unknown address is taken once that is known, and kept if it is not."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from relay.allowlist import Mode
from relay.allowlist.registry import Knock
from relay.core.clock import SystemClock
from relay.core.errors import Reason, Refusal
from relay.core.request import ClientAddress, Headers, RequestHead, VerifiedDelivery
from relay.core.secret import Secret
from relay.ingest.admission import Endpoint
from relay.ingest.authenticated_knock import AuthenticatedKnock
from relay.ingest.pipeline import Ingest
from relay.ingest.unknown_senders import UnknownSenders
from relay.providers import EndpointOptions, SampleOrder
from relay.spool.history import Query
from tests.ingest.endpoints import receive
from tests.ingest.test_pipeline import (
    LISTED,
    MIDTRANS,
    Bench,
    HostOnOrder,
    bench,
    body,
    head,
    reading,
    unread,
)

__all__ = ["bench"]

NEW, OTHER = "203.0.113.66", "198.51.100.9"


@dataclass
class Door:
    """An ingest whose sender has a host name. kept: what was refused for its address alone."""

    bench: Bench
    host: HostOnOrder
    endpoint: Endpoint
    ingest: Ingest
    kept: list[VerifiedDelivery] = field(default_factory=list)
    strangers: list[tuple[str, str, bool]] = field(default_factory=list)

    async def send(self, content: bytes, peer: str = NEW, **changes: Any) -> int:
        sent = replace(head(peer), **changes)
        return (await receive(self.ingest, sent, reading(content))).status


def door(bench: Bench, **changes: Any) -> Door:
    """Return one whose knock comes once an hour."""
    clock, host = SystemClock(), HostOnOrder([LISTED], [LISTED])
    hour = timedelta(hours=1)
    proving = AuthenticatedKnock(Knock([host], timedelta(seconds=1), clock), clock)
    knock = Knock([host], hour, clock)
    usual = {"knock": knock, "authenticated_knock": proving}
    endpoint = replace(bench.endpoint(host), **{**usual, **changes})
    ingest = bench.ingest(endpoint)
    found = Door(bench, host, endpoint, ingest)

    def stranger(name: str, _: RequestHead, client: ClientAddress, /, *, fits: bool) -> None:
        found.strangers.append((name, client.text, fits))

    ingest._unknown_senders = UnknownSenders(
        clock, bench.telemetry, lambda _, event: found.kept.append(event), stranger
    )
    return found


@pytest.fixture
async def usual(bench: Bench) -> Door:
    found = door(bench)
    # A stranger's post has used up the early look-up of everybody.
    assert await found.send(b"{}", OTHER) == 403
    return found


async def test_a_sender_that_has_moved_is_taken_though_strangers_knock(usual: Door) -> None:
    usual.host.next_look = [LISTED, NEW]
    assert await usual.send(body()) == 200
    assert await usual.send(body()) == 200
    assert usual.kept == []
    records = (await usual.bench.spool.page(Query())).records
    assert [record.client for record in records] == [NEW, NEW]
    assert [line.get("matched_host") for line in usual.bench.lines()[1:]] == ["host.example"] * 2


async def test_who_stays_unknown_is_refused_counted_and_kept_once(usual: Door) -> None:
    looks, genuine = usual.host.generation, body()
    assert [await usual.send(genuine, peer) for peer in (NEW, "192.0.2.9", "192.0.7.9")] == [
        403
    ] * 3
    assert usual.host.generation == looks + 1
    assert [str(event.delivery.client.address) for event in usual.kept] == [NEW]
    assert usual.kept[0].verification.secret == 0
    counted = usual.bench.telemetry._metrics.unknown_but_signed.series[("midtrans",)]
    assert counted.number == 1
    lines = usual.bench.lines()[1:]
    assert {line["reason"] for line in lines} == {"source_not_allowed"}
    assert {line["detail"] for line in lines} == {"its signature fits, and its address is unknown"}


async def test_every_stranger_is_told_of_and_whether_its_signature_fits(usual: Door) -> None:
    await usual.send(body())
    await usual.send(body().replace(b"200", b"201"), "192.0.2.9")
    assert usual.strangers == [
        ("midtrans", OTHER, False),
        ("midtrans", NEW, True),
        ("midtrans", "192.0.2.9", False),
    ]
    assert await usual.send(body(), LISTED) == 200
    assert len(usual.strangers) == 3


async def test_unsigned_changes_are_the_same_signed_bytes(usual: Door) -> None:
    genuine = body()
    other = genuine.replace(b'"payment_type": "', b'"payment_type": "x')
    assert other != genuine
    assert [await usual.send(genuine), await usual.send(other, "192.0.2.9")] == [403, 403]
    assert len(usual.kept) == 1


@pytest.mark.parametrize("content", [b"{}", b"", b"no json", body(gross_amount="1.00")[:-9]])
async def test_what_proves_nothing_is_refused_as_any_stranger(content: bytes, usual: Door) -> None:
    looks = usual.host.generation
    assert await usual.send(content) == 403
    assert usual.host.generation == looks
    assert usual.kept == []
    line = usual.bench.lines()[-1]
    assert (line["status"], line["reason"]) == (403, "source_not_allowed")


async def test_only_whose_turn_it_is_has_its_body_read(usual: Door) -> None:
    usual.host.next_look = [LISTED, NEW]
    proving = usual.endpoint.authenticated_knock
    assert proving is not None
    expecting = Headers((("Expect", "100-continue"),))
    assert (
        await receive(usual.ingest, replace(head(NEW), headers=expecting), unread)
    ).status == 403
    assert await usual.send(b"{}") == 403
    # Of the same network.
    assert (await receive(usual.ingest, head("203.0.113.200"), unread)).status == 403
    assert proving.in_hand == 0


async def test_a_body_that_cannot_be_had_is_refused_by_its_address(usual: Door) -> None:
    async def late() -> bytes:
        raise Refusal(Reason.BODY_TIMEOUT)

    assert (await receive(usual.ingest, head(NEW), late)).status == 403
    assert usual.endpoint.authenticated_knock is not None
    assert usual.endpoint.authenticated_knock.in_hand == 0
    assert usual.bench.lines()[-1]["reason"] == "source_not_allowed"


async def test_a_stranger_that_hangs_up_ends_its_turn(usual: Door) -> None:
    admission = usual.ingest.admit(head(NEW))
    await usual.ingest.knock(admission)
    proving = usual.endpoint.authenticated_knock
    assert proving is not None
    assert proving.in_hand == 1
    usual.ingest.finish(admission)
    assert proving.in_hand == 0


@pytest.mark.parametrize("mode", [Mode.REPORT, Mode.OFF])
async def test_where_no_list_is_enforced_nothing_has_to_be_proven(mode: Mode, bench: Bench) -> None:
    found = door(bench, mode=mode)
    assert [await found.send(body()), await found.send(b"{}")] == [200, 401]
    assert found.kept == []


async def test_an_unsigned_endpoint_proves_nothing(bench: Bench) -> None:
    inspector = MIDTRANS.bind(EndpointOptions(secrets=()))
    found = door(bench, inspector=inspector)
    assert await found.send(body()) == 403
    assert found.kept == []


async def test_a_listed_network_without_hosts_keeps_what_proves_itself(bench: Bench) -> None:
    found = door(bench, knock=None, authenticated_knock=AuthenticatedKnock(None, SystemClock()))
    other = SampleOrder("https://relay.test/hook", Secret("another"), SystemClock().now())
    assert await found.send(MIDTRANS.sample(other).body, OTHER) == 403
    assert await found.send(body()) == 403
    assert len(found.kept) == 1


async def test_what_is_passed_on_is_counted_and_not_kept(bench: Bench) -> None:
    found = door(bench, proxied=True)
    assert await found.send(body()) == 403
    assert found.kept == []
    assert bench.telemetry._metrics.unknown_but_signed.series[("midtrans",)].number == 1
