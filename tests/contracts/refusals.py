"""What the refusals of every spool keep to: subclass it and give a fixture `opener`."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest

from relay.core.errors import Reason, SpoolUnavailable
from relay.core.request import ClientAddress, Headers, RequestHead, Via
from relay.spool import Spool
from relay.spool.refusals import OVERHEAD, RefusalLimits, RefusalQuery, RefusalStore, Refused
from tests.contracts.spool import Opener
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED

BOUNDS = RefusalLimits()
CLIENT = ip_address("34.101.68.130")


def refused(
    number: int = 0,
    *,
    client: str = str(CLIENT),
    body: bytes | None = None,
    reason: Reason = Reason.SIGNATURE_MISMATCH,
    endpoint: str = "midtrans",
    seconds: float = 0,
) -> Refused:
    """Return one that differs from those of other numbers."""
    return Refused(
        id=f"ref_{number:03}",
        endpoint=endpoint,
        provider="midtrans",
        reason=reason,
        detail="fits no secret",
        head=RequestHead(
            method="POST",
            target="/hook?a=b",
            headers=Headers((("Host", "pay.example"), ("X-Odd", "caf\xe9"))),
            peer=ip_address("10.0.0.1"),
            received_at=RECEIVED + timedelta(seconds=seconds),
        ),
        client=ClientAddress(ip_address(client), Via.X_FORWARDED_FOR),
        body=b"%d" % number if body is None else body,
    )


async def ids(store: RefusalStore, query: RefusalQuery | None = None) -> list[str]:
    page = await store.page(query or RefusalQuery(limit=1000))
    return [kept.refused.id for kept in page.refusals]


class RefusalContract:
    """Every promise of `RefusalStore`."""

    @pytest.fixture
    def opener(self) -> Opener:
        raise NotImplementedError

    @pytest.fixture
    async def spool(self, opener: Opener) -> AsyncIterator[Spool]:
        spool = await opener(ManualClock())
        yield spool
        await spool.close()

    @pytest.fixture
    def store(self, spool: Spool) -> RefusalStore:
        return spool.refusals

    async def test_what_is_kept_comes_back_as_it_was(self, store: RefusalStore) -> None:
        one = refused(body=b"\x00\xff{")
        await store.keep([one], BOUNDS)
        kept = await store.get(one.id)
        assert kept is not None
        assert kept.refused == one
        assert (kept.times, kept.tried_at, kept.released_as) == (1, None, None)
        assert await store.get("ref_nothing") is None

    async def test_the_same_bytes_are_one_refusal_and_the_first_stays(
        self, store: RefusalStore
    ) -> None:
        first, again = refused(1, body=b"x"), refused(2, body=b"x", seconds=60)
        await store.keep([first], BOUNDS)
        await store.keep([again, refused(3, body=b"x", endpoint="other")], BOUNDS)
        assert await ids(store) == ["ref_003", "ref_001"]
        kept = await store.get(first.id)
        assert kept is not None
        assert (kept.times, kept.refused.head.received_at) == (2, RECEIVED)

    async def test_what_fits_a_secret_is_kept_with_its_position(self, store: RefusalStore) -> None:
        unknown = replace(refused(1), signature_fits=True, secret=1)
        await store.keep([unknown, refused(2)], BOUNDS)
        page = await store.page(RefusalQuery())
        found = [(kept.refused.signature_fits, kept.refused.secret) for kept in page.refusals]
        assert found == [(False, None), (True, 1)]

    async def test_refusals_are_found_by_what_they_name(self, store: RefusalStore) -> None:
        texts = ("ORDER-1", "ORDER-12", "%_", '"', "42", "a\0bcd")
        each = [
            replace(refused(number), references=(("order_id", text), ("other", "same-text")))
            for number, text in enumerate(texts)
        ]
        await store.keep(each, BOUNDS)
        await store.mark_released("ref_004", "evt_01ab", RECEIVED)
        for find, expected in (
            ("ORDER-1", [1, 0]),
            ("ORDER-12", [1]),
            ("ORDE", [1, 0]),
            ("ORD", []),
            ("%_", [2]),
            ("%", []),
            ('"', [3]),
            ("42", [4]),
            ("a\0bc", [5]),
            ("same", [5, 4, 3, 2, 1, 0]),
            ("ref_00", [5, 4, 3, 2, 1, 0]),
            ("ref_003", [3]),
            ("evt_01ab", [4]),
            ("\ud800", []),
        ):
            page = await store.page(RefusalQuery(find=find))
            assert [kept.refused.id for kept in page.refusals] == [f"ref_{n:03}" for n in expected]
        page = await store.page(RefusalQuery(find="same", limit=2, endpoint=each[0].endpoint))
        assert [kept.refused.id for kept in page.refusals] == ["ref_005", "ref_004"]
        page = await store.page(RefusalQuery(find="same", limit=2, after=page.next))
        assert [kept.refused.id for kept in page.refusals] == ["ref_003", "ref_002"]

    async def test_references_are_kept(self, store: RefusalStore) -> None:
        named = (("order_id", "ORDER-1"), ("transaction_id", "\0%_\u202e"))
        await store.keep([replace(refused(1), references=named)], BOUNDS)
        [kept] = (await store.page(RefusalQuery())).refusals
        assert kept.refused.references == named

    async def test_other_header_fields_are_other_bytes(self, store: RefusalStore) -> None:
        one = refused(1, body=b"x")
        other = replace(one, id="ref_002", head=replace(one.head, headers=Headers()))
        await store.keep([one, other], BOUNDS)
        assert await ids(store) == ["ref_002", "ref_001"]

    async def test_one_address_keeps_only_its_latest(self, store: RefusalStore) -> None:
        bounds = RefusalLimits(per_address=2)
        await store.keep([refused(9, client="192.0.2.9")], bounds)
        await store.keep([refused(number) for number in range(4)], bounds)
        assert await ids(store) == ["ref_003", "ref_002", "ref_009"]

    async def test_the_oldest_go_when_there_are_too_many(self, store: RefusalStore) -> None:
        each = [refused(number, client=f"192.0.2.{number % 250}") for number in range(250)]
        await store.keep(each, RefusalLimits(number=20))
        assert await ids(store) == [f"ref_{number:03}" for number in range(249, 229, -1)]

    async def test_the_oldest_go_when_they_are_too_large(self, store: RefusalStore) -> None:
        size = refused(0, body=bytes(1000)).size
        assert size > OVERHEAD + 1000
        await store.keep([refused(1, body=b"1" * 1000)], RefusalLimits(size=2 * size))
        await store.keep([refused(2, body=b"2" * 1000)], RefusalLimits(size=2 * size))
        assert await ids(store) == ["ref_002", "ref_001"]
        await store.keep([refused(3, body=b"3" * 1000)], RefusalLimits(size=2 * size))
        assert await ids(store) == ["ref_003", "ref_002"]

    async def test_what_nothing_vouches_for_has_a_share_of_its_own(
        self, store: RefusalStore
    ) -> None:
        bounds = RefusalLimits(number=3, unvouched=4, per_network=100)
        fits = replace(refused(1, seconds=-9), signature_fits=True)
        await store.keep([fits, refused(2), refused(3)], bounds)
        flood = [
            replace(refused(number, client=f"198.51.{number}.1"), vouched=False)
            for number in range(10, 60)
        ]
        await store.keep(flood, bounds)
        vouched = ["ref_003", "ref_002", "ref_001"]
        assert await ids(store) == ["ref_059", "ref_058", "ref_057", "ref_056", *vouched]
        # Neither pushes the other out.
        await store.keep([refused(4)], bounds)
        assert await ids(store) == [
            *("ref_004", "ref_059", "ref_058", "ref_057", "ref_056", "ref_003", "ref_002")
        ]

    async def test_the_share_of_what_nothing_vouches_for_is_bounded_in_bytes(
        self, store: RefusalStore
    ) -> None:
        large = [
            replace(refused(number, client=f"198.51.{number}.1", body=bytes(1000)), vouched=False)
            for number in range(10, 15)
        ]
        large = [replace(each, body=each.id.encode() * 200) for each in large]
        bounds = RefusalLimits(unvouched_size=2 * large[0].size)
        await store.keep([refused(1, body=bytes(5000))], bounds)
        await store.keep(large, bounds)
        assert await ids(store) == ["ref_014", "ref_013", "ref_001"]

    @pytest.mark.parametrize(
        ("one", "same", "others"),
        [
            ("198.51.100.1", "198.51.100.250", ("198.51.10.1", "198.51.101.1")),
            ("2001:db8:1::1", "2001:db8:1:ffff::9", ("2001:db8::1", "2001:db8:10::1", "2001::1")),
        ],
    )
    async def test_a_network_keeps_only_its_latest_of_what_nothing_vouches_for(
        self, one: str, same: str, others: tuple[str, ...], store: RefusalStore
    ) -> None:
        bounds = RefusalLimits(per_network=2)
        clients = (one, *others, same, one, same)
        each = [
            replace(refused(number, client=client), vouched=False)
            for number, client in enumerate(clients)
        ]
        await store.keep([refused(99, client=one)], bounds)
        await store.keep(each, bounds)
        last = len(clients) - 1
        kept = [last, last - 1, *range(len(others), 0, -1), 99]
        assert await ids(store) == [f"ref_{number:03}" for number in kept]
        found = await store.get(f"ref_{last:03}")
        assert found is not None
        assert found.refused.client.address == ip_address(same)

    async def test_they_are_paged_the_last_first_and_without_bodies(
        self, store: RefusalStore
    ) -> None:
        await store.keep([refused(number) for number in range(3)], BOUNDS)
        first = await store.page(RefusalQuery(limit=2))
        assert [kept.refused.id for kept in first.refusals] == ["ref_002", "ref_001"]
        assert {kept.refused.body for kept in first.refusals} == {b""}
        rest = await store.page(RefusalQuery(limit=2, after=first.next))
        assert ([kept.refused.id for kept in rest.refusals], rest.next) == (["ref_000"], None)

    async def test_filters_narrow(self, store: RefusalStore) -> None:
        other = refused(2, endpoint="other", reason=Reason.BODY_MALFORMED)
        await store.keep([refused(1), other], BOUNDS)
        assert await ids(store, RefusalQuery(endpoint="other")) == ["ref_002"]
        assert await ids(store, RefusalQuery(reason=Reason.SIGNATURE_MISMATCH)) == ["ref_001"]
        both = RefusalQuery(endpoint="other", reason=Reason.SIGNATURE_MISMATCH)
        assert await ids(store, both) == []
        await store.mark_released("ref_001", "evt_1", RECEIVED)
        assert await ids(store, RefusalQuery(released=True)) == ["ref_001"]
        assert await ids(store, RefusalQuery(released=False)) == ["ref_002"]

    @pytest.mark.parametrize("query", [RefusalQuery(after="x"), RefusalQuery(limit=0)])
    async def test_a_query_that_is_none_is_refused(
        self, store: RefusalStore, query: RefusalQuery
    ) -> None:
        with pytest.raises(ValueError, match=r"next|limit"):
            await store.page(query)

    async def test_what_is_refused_still_says_why(self, store: RefusalStore) -> None:
        await store.keep([refused(1)], BOUNDS)
        await store.mark_refused("ref_001", Reason.FIELD_INVALID, "another", RECEIVED)
        kept = await store.get("ref_001")
        assert kept is not None
        assert (kept.refused.reason, kept.refused.detail) == (Reason.FIELD_INVALID, "another")
        assert kept.tried_at == RECEIVED
        assert kept.refused.body == b"1"

    async def test_ids_are_found_by_how_they_begin(self, store: RefusalStore) -> None:
        await store.keep([refused(number) for number in (11, 12, 2)], BOUNDS)
        assert await store.starting_with("ref_01", 5) == ("ref_011", "ref_012")
        assert await store.starting_with("ref_01", 1) == ("ref_011",)
        assert await store.starting_with("ref_002", 5) == ("ref_002",)
        for none in ("ref_02", "REF", "ref%", "ref_0020", "\ud800", "\x00"):
            assert await store.starting_with(none, 5) == ()

    async def test_what_is_released_keeps_no_content_and_stays_so(
        self, store: RefusalStore
    ) -> None:
        await store.keep([refused(1)], BOUNDS)
        await store.mark_released("ref_001", "evt_1", RECEIVED)
        await store.mark_refused("ref_001", Reason.FIELD_INVALID, "another", RECEIVED)
        kept = await store.get("ref_001")
        assert kept is not None
        assert kept.released_as == "evt_1"
        assert (kept.refused.body, list(kept.refused.head.headers)) == (b"", [])
        assert kept.refused.head.target == "/hook"
        assert kept.refused.reason is Reason.SIGNATURE_MISMATCH

    async def test_what_is_old_goes_in_steps(self, store: RefusalStore) -> None:
        await store.keep([refused(number, seconds=number) for number in range(5)], BOUNDS)
        before = RECEIVED + timedelta(seconds=3)
        assert [await store.prune(before, 2) for _ in range(3)] == [2, 1, 0]
        assert await ids(store) == ["ref_004", "ref_003"]

    async def test_another_process_sees_what_is_kept(
        self, store: RefusalStore, opener: Opener
    ) -> None:
        other = await opener(ManualClock())
        await store.keep([refused(1)], BOUNDS)
        assert await ids(other.refusals) == ["ref_001"]
        await other.close()

    async def test_a_closed_spool_keeps_nothing(self, opener: Opener) -> None:
        spool = await opener(ManualClock())
        await spool.close()
        with pytest.raises(SpoolUnavailable, match="closed"):
            await spool.refusals.keep([refused(1)], BOUNDS)
