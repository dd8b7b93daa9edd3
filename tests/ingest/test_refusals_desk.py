"""A release verifies everything anew, and there is no way around a check."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.allowlist import Allowlist, Mode, StaticSource
from relay.core.errors import Reason
from relay.core.ids import event_ids
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    OnConflict,
    RequestHead,
    Verification,
    Via,
)
from relay.core.secret import Secret
from relay.ingest.pipeline import Endpoint
from relay.ingest.refusals import RefusalReleaser
from relay.ingest.routing import Routes
from relay.providers import (
    EndpointOptions,
    Inspector,
    Provider,
    SampleOrder,
    Window,
)
from relay.providers.builtin import provider_named
from relay.signatures import (
    OnSigned,
    ignore_signed,
)
from relay.spool import Query
from relay.spool.refusals import AlreadyReleased, RefusalLimits, Refused, Released, StillRefused
from relay.spool.sqlite import SqliteSpool, open_spool
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED
from tests.ingest.endpoints import LISTED, MIDTRANS, SECRET, endpoint

VIPPS: Provider = provider_named("vipps")
URL = "https://relay.test/midtrans/notification"


def refused(provider: Provider = MIDTRANS) -> Refused:
    """Return a genuine message that was refused."""
    sample = provider.sample(SampleOrder(URL, SECRET, RECEIVED, {}))
    fields = (("Host", "relay.test"), *sample.headers)
    address = ip_address(LISTED)
    return Refused(
        id="ref_1",
        endpoint="midtrans",
        provider=provider.info.name,
        reason=Reason.SIGNATURE_MISMATCH,
        detail="fits no secret",
        head=RequestHead(
            sample.method, "/midtrans/notification", Headers(fields), address, RECEIVED
        ),
        client=ClientAddress(address, Via.PEER),
        body=sample.body,
    )


@dataclass
class Office:
    """A spool with one refusal, and the desk that releases it."""

    spool: SqliteSpool
    clock: ManualClock

    async def keep(self, each: Refused) -> None:
        await self.spool.refusals.keep([each], RefusalLimits())

    def releaser(self, *endpoints: Endpoint) -> RefusalReleaser:
        routes = Routes(endpoints)
        return RefusalReleaser(
            self.spool,
            routes=lambda: routes,
            secrets=list,
            clock=self.clock,
            new_id=event_ids(),
        )

    async def events(self) -> int:
        return len((await self.spool.page(Query())).records)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    clock = ManualClock(RECEIVED + timedelta(days=3))
    office = Office(await open_spool(tmp_path / "relay.db", clock), clock)
    yield office
    await office.spool.close()


async def test_with_the_right_key_it_becomes_an_event(office: Office) -> None:
    one = refused()
    await office.keep(one)
    wrong = endpoint(Secret("of the other environment"))
    result = await office.releaser(wrong).release("ref_1")
    assert result == StillRefused(Reason.SIGNATURE_MISMATCH, "fits no secret")
    assert await office.events() == 0
    result = await office.releaser(endpoint()).release("ref_1")
    assert isinstance(result, Released)
    assert not result.duplicate
    found = await office.spool.get(result.event_id)
    assert found is not None
    assert found[1] is not None
    assert (found[1].body, found[1].received_at, str(found[1].client)) == (
        one.body,
        RECEIVED,
        LISTED,
    )
    kept = await office.spool.refusals.get("ref_1")
    assert kept is not None
    assert (kept.released_as, kept.tried_at) == (result.event_id, office.clock.now())
    assert await office.releaser(endpoint()).release("ref_1") == AlreadyReleased(result.event_id)


async def test_one_that_is_an_event_already_is_a_duplicate_of_it(office: Office) -> None:
    one = refused()
    await office.keep(one)
    first = await office.releaser(endpoint()).release("ref_1")
    # The same message in other bytes of the head is another refusal.
    again = replace(one, id="ref_2", head=replace(one.head, headers=Headers()))
    await office.keep(again)
    second = await office.releaser(endpoint()).release("ref_2")
    assert isinstance(first, Released)
    assert second == Released(first.event_id, duplicate=True)
    assert await office.events() == 1


async def test_nobody_knows_it(office: Office) -> None:
    assert await office.releaser(endpoint()).release("ref_9") is None


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        (endpoint(path="/elsewhere"), Reason.UNKNOWN_ENDPOINT),
        (endpoint(methods=("PUT",)), Reason.METHOD_NOT_ALLOWED),
        (endpoint(allowlist=Allowlist([])), Reason.SOURCE_NOT_ALLOWED),
        (endpoint(token=True), Reason.SIGNATURE_MISSING),
        (endpoint(proxied=True), Reason.UNKNOWN_ENDPOINT),
    ],
)
async def test_every_check_is_made_again(present: Endpoint, reason: Reason, office: Office) -> None:
    await office.keep(refused())
    result = await office.releaser(present).release("ref_1")
    assert isinstance(result, StillRefused)
    assert result.reason is reason
    kept = await office.spool.refusals.get("ref_1")
    assert kept is not None
    assert (kept.refused.reason, kept.released_as) == (reason, None)
    assert await office.events() == 0


@pytest.mark.parametrize("mode", [Mode.REPORT, Mode.OFF])
async def test_a_list_that_is_not_enforced_keeps_nothing_back(mode: Mode, office: Office) -> None:
    await office.keep(refused())
    present = endpoint(allowlist=Allowlist([StaticSource("x", [])]), mode=mode)
    assert isinstance(await office.releaser(present).release("ref_1"), Released)


async def test_a_single_changed_byte_is_refused(office: Office) -> None:
    one = refused()
    await office.keep(replace(one, body=one.body.replace(b"10000.00", b"10000.01")))
    result = await office.releaser(endpoint()).release("ref_1")
    assert result == StillRefused(Reason.SIGNATURE_MISMATCH, "fits no secret")


async def test_time_is_judged_as_of_receipt(office: Office) -> None:
    await office.keep(refused(VIPPS))
    options = EndpointOptions(
        secrets=(SECRET,), window=Window(timedelta(minutes=5), timedelta(minutes=5))
    )
    present = endpoint(inspector=VIPPS.bind(options), headers=VIPPS.info.headers)
    assert isinstance(await office.releaser(present).release("ref_1"), Released)
    late = refused(VIPPS)
    received = RECEIVED + timedelta(minutes=6)
    await office.keep(replace(late, id="ref_2", head=replace(late.head, received_at=received)))
    result = await office.releaser(present).release("ref_2")
    assert isinstance(result, StillRefused)
    assert result.reason is Reason.TIMESTAMP_OUTSIDE_WINDOW


async def test_a_known_key_with_other_content_stays(office: Office) -> None:
    class Strict:
        """Midtrans, if it counted as SNAP does."""

        def __init__(self, inspector: Inspector) -> None:
            self._inspector = inspector
            self.answer, self.proxied_answer = inspector.answer, inspector.proxied_answer
            self.signs_query = inspector.signs_query

        def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
            found = self._inspector.verify(delivery, on_signed)
            return replace(found, key="one", on_conflict=OnConflict.REFUSE)

    present = endpoint(inspector=Strict(endpoint().inspector))
    await office.keep(refused())
    await office.keep(replace(refused(), id="ref_2"))
    assert isinstance(await office.releaser(present).release("ref_1"), Released)
    result = await office.releaser(present).release("ref_2")
    assert isinstance(result, StillRefused)
    assert result.reason is Reason.EVENT_CONFLICT
