"""Who may send is shown endpoint by endpoint, and an address can be checked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from netaddr import IPNetwork

from relay.allowlist import (
    AddressChange,
    Allowlist,
    Change,
    Entry,
    Mode,
    SourceStatus,
    StaticSource,
)
from tests.admin.pages.browsing import page, sign_in
from tests.admin.test_server import Bench, bench
from tests.ingest.endpoints import LISTED, endpoint

__all__ = ["bench"]

_SEEN = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass
class Resolved:
    """A host name that was resolved, and fails now."""

    generation: int = 0

    def entries(self) -> Sequence[Entry]:
        network = IPNetwork("104.45.17.199")
        return [Entry(network, "dns", "host.example", last_seen=_SEEN, first_seen=_SEEN)]

    def changes(self) -> Sequence[AddressChange]:
        gone = ip_address("104.45.17.200")
        return [AddressChange(_SEEN, "host.example", Change.REMOVED, gone)]

    def status(self) -> SourceStatus:
        return SourceStatus("host.example", 1, _SEEN, "timeout")

    async def run(self) -> None: ...

    async def refresh(self) -> None: ...


async def test_each_address_is_shown_with_where_it_is_known_from(bench: Bench) -> None:
    await sign_in(bench)
    assert "No endpoint is configured" in await page(bench, "/allowlist")
    bench.endpoints += [
        endpoint(),
        endpoint(name="resolved", allowlist=Allowlist([Resolved()])),
        endpoint(name="reports", mode=Mode.REPORT),
        endpoint(name="open", mode=Mode.OFF),
        endpoint(name="closed", allowlist=Allowlist([])),
    ]
    text = await page(bench, "/allowlist")
    assert f"{LISTED}/32" in text
    assert "104.45.17.199/32" in text
    assert text.count("2026-01-05 12:00:00 UTC") == 4
    assert "host.example: timeout." in text
    assert "removed" in text
    assert "104.45.17.200" in text
    assert "Nobody is refused here" in text
    assert "Everybody may send here" in text
    assert "No address is known: everybody is refused" in text


@pytest.mark.parametrize("address", [LISTED, f"::ffff:{LISTED}", f" {LISTED} "])
async def test_an_address_is_checked_at_every_endpoint(address: str, bench: Bench) -> None:
    await sign_in(bench)
    bench.endpoints += [endpoint(), endpoint(name="closed", allowlist=Allowlist([]))]
    status, text = await bench.get("/allowlist", params={"address": address})
    assert status == 200
    answer = text.partition('id="answer"')[2].partition("</section>")[0]
    assert ">listed<" in answer
    assert f"{LISTED}/32" in answer
    assert ">refused<" in answer


async def test_an_address_on_no_list_is_admitted_where_that_only_reports(bench: Bench) -> None:
    await sign_in(bench)
    bench.endpoints += [endpoint(mode=Mode.REPORT)]
    assert "not listed, admitted" in await page(bench, "/allowlist?address=192.0.2.1")


async def test_many_endpoints_are_shown_a_few_at_a_time(bench: Bench) -> None:
    await sign_in(bench)
    bench.endpoints += [endpoint(name=f"shop-{each}") for each in range(12)]

    async def shown(path: str) -> list[str]:
        return re.findall(r'<h2 id="endpoint-\d"><bdi>(.*?)</bdi>', await page(bench, path))

    assert await shown("/allowlist") == [f"shop-{each}" for each in range(5)]
    link = re.search(r'rel="next" href="([^"]*)"', await page(bench, "/allowlist?from=5"))
    assert link is not None
    assert await shown(link[1].replace("&amp;", "&")) == ["shop-10", "shop-11"]
    assert await shown("/allowlist?endpoint=shop-7") == ["shop-7"]
    for nonsense in ("x", "-1", "99", "9" * 30):
        assert len(await shown(f"/allowlist?from={nonsense}")) == 5


async def test_long_lists_are_shown_by_their_beginning(bench: Bench) -> None:
    await sign_in(bench)
    networks = [(f"198.51.{each}.0/24", "test") for each in range(101)]
    bench.endpoints.append(endpoint(allowlist=Allowlist([StaticSource("x", networks)])))
    text = await page(bench, "/allowlist")
    assert "101 addresses and networks" in text
    assert "198.51.100.0/24" not in text
    assert "The first 100." in text


async def test_what_is_no_address_gets_a_sentence(bench: Bench) -> None:
    await sign_in(bench)
    bench.endpoints += [endpoint()]
    status, text = await bench.get("/allowlist", params={"address": "<b>\u202e"})
    assert status == 200
    assert "&lt;b&gt;\\u202e is no IP address" in text
    assert 'id="answer"' not in text
