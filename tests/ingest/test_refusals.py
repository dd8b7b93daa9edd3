"""Refusals are noted behind the answers: within bounds, and never with a token."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from itertools import count, product
from pathlib import Path

import orjson
import pytest

from relay.allowlist import Allowlist, Mode, StaticSource
from relay.core.conditions import Condition, HeaderCondition, JsonCondition
from relay.core.errors import Reason, Refusal, SpoolUnavailable
from relay.core.ids import event_ids
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    OnConflict,
    RequestHead,
    Verification,
    VerifiedDelivery,
    Via,
)
from relay.core.secret import Secret
from relay.ingest.admission import Endpoint, verify_delivery
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.refusals import (
    AutoReleaser,
    RefusalRecorder,
    RefusalReleaser,
    headers_to_keep,
)
from relay.ingest.upstream_routes import UpstreamRoute
from relay.providers import EndpointOptions, Inspector, Provider, RequestShape, SampleOrder, Window
from relay.providers.builtin import provider_named
from relay.providers.inline.challenge_rules import ChallengeRule
from relay.providers.inline.challenges import Challenges
from relay.signatures import OnSigned, ignore_signed
from relay.spool import SpoolBroken
from relay.spool.history import Query
from relay.spool.refusals import (
    AlreadyReleased,
    RefusalLimits,
    RefusalStore,
    Refused,
    Released,
    StillRefused,
)
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.contracts.refusals import ids
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import RECEIVED, verified
from tests.ingest.endpoints import LISTED, MIDTRANS, SECRET, endpoint
from tests.ingest.test_pipeline import HostOnOrder

MISMATCH = Refusal(Reason.SIGNATURE_MISMATCH, "fits no secret")
SIGNATURE = "HMAC-SHA256 SignedHeaders=x&Signature=c2ln"


def delivery(number: int = 0, headers: Headers | None = None, body: bytes = b"") -> Delivery:
    made = verified(body=body or b"%d" % number).delivery
    return replace(made, head=replace(made.head, headers=headers or Headers()))


@dataclass
class Bench:
    """A keeper that runs, and its store."""

    clock: ManualClock
    store: RefusalStore
    recorder: RefusalRecorder
    running: "asyncio.Task[None]"
    writer: LogWriter
    log: io.BytesIO
    batches: list[int] = field(default_factory=list)
    broken: Exception | None = None

    async def written(self, *expected: str) -> None:
        async with asyncio.timeout(10):
            while await ids(self.store) != list(expected):
                pass

    async def end(self) -> None:
        """Stop as a relay stops."""
        self.running.cancel()
        await asyncio.wait({self.running})
        await self.recorder.flush()

    def said(self) -> bytes:
        self.writer.close()
        return self.log.getvalue()


class Noting:
    """A store that passes on what it is given, counts it, and breaks when told to."""

    def __init__(self, store: RefusalStore) -> None:
        self.store = store
        self.batches: list[int] = []
        self.broken: Exception | None = None

    async def keep(self, refused: list[Refused], bounds: RefusalLimits) -> None:
        if self.broken is not None:
            raise self.broken
        self.batches.append(len(refused))
        await self.store.keep(refused, bounds)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[tuple[Bench, Noting]]:
    clock, log = ManualClock(), io.BytesIO()
    writer = LogWriter(log)
    spool = await open_spool(tmp_path / "relay.db", clock)
    noting, numbers = Noting(spool.refusals), count(1)
    recorder = RefusalRecorder(
        noting,  # type: ignore[arg-type] # a keeper only keeps
        clock=clock,
        telemetry=Telemetry(Log(writer, clock)),
        new_id=lambda _: f"ref_{next(numbers)}",
        bounds=RefusalLimits(),
        buffer_bytes=200_000,
    )
    running = asyncio.get_running_loop().create_task(recorder.run())
    yield Bench(clock, spool.refusals, recorder, running, writer, log), noting
    running.cancel()
    await asyncio.wait({running})
    await spool.close()
    writer.close()


async def test_what_comes_together_is_written_together(bench: tuple[Bench, Noting]) -> None:
    at, noting = bench
    for number in range(3):
        at.recorder.note(endpoint(), delivery(number), MISMATCH)
    await at.clock.advance(0.4)
    assert noting.batches == []
    await at.clock.advance(0.2)
    await at.written("ref_3", "ref_2", "ref_1")
    assert noting.batches == [3]


async def test_the_ids_that_a_refused_body_names_are_kept(bench: tuple[Bench, Noting]) -> None:
    keeper, _ = bench
    body = b'{"order_id": "ORDER-1", "transaction_id": 7, "gross_amount": "no number"}'
    for each in (delivery(body=body), delivery(body=b"{")):
        keeper.recorder.note(endpoint(), each, MISMATCH)
    await keeper.clock.advance(1)
    await keeper.written("ref_2", "ref_1")
    kept = await keeper.store.get("ref_1"), await keeper.store.get("ref_2")
    assert [each and each.refused.references for each in kept] == [(("order_id", "ORDER-1"),), ()]


async def test_a_flood_that_nothing_vouches_for_takes_no_room_of_others(
    bench: tuple[Bench, Noting],
) -> None:
    at, _ = bench
    open_endpoint = endpoint(mode=Mode.OFF, allowlist=Allowlist([]))
    for number in range(500):
        at.recorder.note(open_endpoint, delivery(number, body=b"%d" % number * 300), MISMATCH)
    at.recorder.note(endpoint(), delivery(1000), MISMATCH)
    await at.clock.advance(0.6)
    await at.written("ref_501", *(f"ref_{number}" for number in range(5, 0, -1)))
    assert b"nothing vouches for their senders, and there are too many" in at.said()
    assert b'"number":495' in at.said()


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_ENDPOINT, Reason.EVENT_CONFLICT])
async def test_what_no_configuration_mends_is_let_go(
    reason: Reason, bench: tuple[Bench, Noting]
) -> None:
    bench[0].recorder.note(endpoint(), delivery(), Refusal(reason))
    await bench[0].end()
    assert await ids(bench[0].store) == []


async def test_where_a_token_is_the_proof_nothing_is_kept(bench: tuple[Bench, Noting]) -> None:
    bench[0].recorder.note(endpoint(token=True), delivery(), MISMATCH)
    await bench[0].end()
    assert await ids(bench[0].store) == []


async def test_what_holds_a_token_by_its_kind_is_not_kept(bench: tuple[Bench, Noting]) -> None:
    shapes = (RequestShape("POST", "/pay"), RequestShape("POST", "/link", tokens=("/token",)))
    for remainder in ("/link", "/pay"):
        came = replace(delivery(), remainder=remainder)
        bench[0].recorder.note(endpoint(shapes=shapes), came, MISMATCH)
    await bench[0].end()
    assert await ids(bench[0].store) == ["ref_1"]


@pytest.mark.parametrize(
    ("signs", "suffix", "target"),
    [
        (False, "", "/hook"),
        (False, "?", "/hook"),
        (True, "?", "/hook?token=x"),
        (False, "?token=x", "/hook?token=x"),
        (False, "/v1?token=x", "/hook?token=x"),
        (False, "/v1?", "/hook"),
    ],
)
async def test_a_query_is_kept_only_where_a_release_needs_it(
    signs: bool, suffix: str, target: str, bench: tuple[Bench, Noting]
) -> None:
    came = delivery()
    remainder = suffix.partition("?")[0]
    head = replace(came.head, target="/hook?token=x")
    came = replace(came, remainder=remainder, suffix=suffix, head=head)
    provider = provider_named("vipps" if signs else "midtrans")
    inspector = provider.bind(EndpointOptions(secrets=(Secret("x"),)))
    bench[0].recorder.note(endpoint(inspector=inspector), came, MISMATCH)
    await bench[0].end()
    kept = await bench[0].store.get("ref_1")
    assert kept is not None
    assert kept.refused.head.target == target


async def test_a_flood_is_let_go_and_told_once(bench: tuple[Bench, Noting]) -> None:
    at, _ = bench
    for number in range(4):
        at.recorder.note(endpoint(), delivery(body=b"%d" % number * 120_000), MISMATCH)
    await at.clock.advance(0.6)
    await at.written("ref_1")
    await at.end()
    said = at.said()
    assert said.count(b"refusals_lost") == 1
    assert b'"number":3' in said


async def test_a_flood_does_not_keep_the_disk_busy(bench: tuple[Bench, Noting]) -> None:
    at, noting = bench
    for name, number in product(("one", "other"), range(110)):
        at.recorder.note(endpoint(name=name), delivery(number), MISMATCH)
    await at.clock.advance(0.6)
    await run_loop_until(lambda: sum(noting.batches) == 200)
    await run_loop_until(lambda: bool(at.clock.sleeping))
    assert noting.batches == [50, 50, 50, 50]
    await at.clock.advance(0.6)
    await run_loop_until(lambda: sum(noting.batches) == 220)


async def test_room_comes_back(bench: tuple[Bench, Noting]) -> None:
    at, _ = bench
    await at.end()
    for number in range(3):
        at.recorder.note(endpoint(), delivery(body=b"%d" % number * 120_000), MISMATCH)
        await at.recorder.flush()
    assert await ids(at.store) == ["ref_3", "ref_2", "ref_1"]


async def test_a_spool_in_trouble_is_tried_again(bench: tuple[Bench, Noting]) -> None:
    at, noting = bench
    noting.broken = SpoolUnavailable("not now")
    at.recorder.note(endpoint(), delivery(), MISMATCH)
    await at.clock.advance(0.6)
    noting.broken = None
    await at.clock.advance(5.1)
    await at.clock.advance(0.6)
    await at.written("ref_1")
    assert b"refusals_delayed" in at.said()


async def test_what_cannot_be_kept_is_let_go_and_ends_nothing(bench: tuple[Bench, Noting]) -> None:
    at, noting = bench
    noting.broken = RuntimeError("nobody expects this")
    at.recorder.note(endpoint(), delivery(0), MISMATCH)
    await at.clock.advance(0.6)
    noting.broken = None
    at.recorder.note(endpoint(), delivery(1), MISMATCH)
    await at.clock.advance(0.6)
    await at.written("ref_2")
    said = at.said()
    assert b"refusals_fault" in said
    assert b"refusals_lost" in said


async def test_a_broken_spool_ends_it(bench: tuple[Bench, Noting]) -> None:
    at, noting = bench
    noting.broken = SpoolBroken("for good")
    at.recorder.note(endpoint(), delivery(), MISMATCH)
    await at.clock.advance(0.6)
    with pytest.raises(SpoolBroken):
        await at.running


def vipps() -> Endpoint:
    return endpoint(headers=("x-ms-date", "Authorization"))


def test_only_what_a_new_verification_needs_is_kept() -> None:
    sent = (("Host", "h"), ("Cookie", "canary"), ("x-ms-date", "now"), ("Authorization", SIGNATURE))
    assert headers_to_keep(vipps(), Headers(sent)) == Headers((sent[0], *sent[2:]))
    assert headers_to_keep(endpoint(), Headers(sent)) == Headers(sent[:1])


@pytest.mark.parametrize("value", ["canary", "Bearer canary", "Basic Y2FuYXJ5", "", "HMAC-SHA256"])
def test_an_authorization_that_may_be_a_token_is_not_kept(value: str) -> None:
    assert headers_to_keep(vipps(), Headers((("Authorization", value),))) is None
    both = Headers((("Authorization", SIGNATURE), ("authorization", value)))
    assert headers_to_keep(vipps(), both) is None


# ---- releasing ------------------------------------------------------------------------------
# A release verifies everything anew, and there is no way around a check.

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
    """A spool with one refusal, and the releaser over it."""

    spool: SqliteSpool
    clock: ManualClock
    unrouted: list[str] = field(default_factory=list)

    async def keep(self, each: Refused) -> None:
        await self.spool.refusals.keep([each], RefusalLimits())

    def releaser(self, *endpoints: Endpoint) -> RefusalReleaser:
        paths = EndpointPaths(endpoints)
        return RefusalReleaser(
            self.spool,
            paths=lambda: paths,
            secrets=list,
            clock=self.clock,
            new_id=event_ids(),
            unrouted=self.unrouted.append,
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


@pytest.mark.parametrize(
    ("when", "upstreams"),
    [
        (JsonCondition("/transaction_status", ("settlement",)), ["ledger"]),
        (HeaderCondition("X-Kind", ("payment",)), ["ledger"]),
        (HeaderCondition("X-Kind", ("refund",)), ["billing"]),
    ],
)
async def test_what_is_released_takes_its_route(
    when: Condition, upstreams: list[str], office: Office
) -> None:
    present = endpoint(headers=("X-Kind",), routes=(UpstreamRoute(when, ("ledger",)),))
    one = refused()
    fields = Headers((*one.head.headers, ("X-Kind", "payment")))
    kept = headers_to_keep(present, fields)
    assert kept is not None
    await office.keep(replace(one, head=replace(one.head, headers=kept)))
    assert isinstance(await office.releaser(present).release("ref_1"), Released)
    stored = (await office.spool.page(Query())).records
    assert [[each.upstream for each in record.destinations] for record in stored] == [upstreams]


async def test_what_is_released_to_nowhere_is_counted_once(office: Office) -> None:
    when = JsonCondition("/transaction_status", ("settlement",))
    to_nowhere = endpoint(routes=(UpstreamRoute(when, ()),))
    one = refused()
    await office.keep(one)
    await office.keep(replace(one, id="ref_2", head=replace(one.head, headers=Headers())))
    assert isinstance(await office.releaser(to_nowhere).release("ref_1"), Released)
    copy = await office.releaser(to_nowhere).release("ref_2")
    assert isinstance(copy, Released)
    assert copy.duplicate
    assert office.unrouted == ["midtrans"]


CHALLENGES = Challenges(
    [ChallengeRule((JsonCondition("/order_id"),))],
    methods=("POST",),
    signature=None,
    public=None,
    keys=(),
)


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
        (endpoint(challenges=CHALLENGES), Reason.UNKNOWN_ENDPOINT),
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
            self.references = inspector.references

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


# ---- refused only for the address -----------------------------------------------------------

UNKNOWN = ClientAddress(ip_address("203.0.113.66"), Via.PEER)


def proven(delivered: Delivery | None = None) -> VerifiedDelivery:
    """Return a genuine message from an unknown address, as it was verified."""
    message = refused()
    usual = Delivery("midtrans", message.head, UNKNOWN, "", message.body)
    return verify_delivery(endpoint(), delivered or usual, "evt_1")


async def test_what_proved_itself_is_kept_with_its_address_and_secret(
    bench: tuple[Bench, Noting],
) -> None:
    at, _ = bench
    assert at.recorder.note_unknown(endpoint(), proven()) == "ref_1"
    at.recorder.note(endpoint(), delivery(), Refusal(Reason.SOURCE_NOT_ALLOWED))
    # The token itself is not kept.
    token = Headers((("Authorization", "a token"), ("Host", "relay.test")))
    by_token = replace(endpoint(), name="by-token", token=True)
    delivered = proven().delivery
    headed = replace(delivered.head, headers=token)
    with_token = Delivery("by-token", headed, delivered.client, "", delivered.body)
    proof = replace(proven(), delivery=with_token)
    assert at.recorder.note_unknown(by_token, proof) == "ref_2"
    await at.end()
    kept = await at.store.get("ref_1")
    assert kept is not None
    assert (kept.refused.signature_fits, kept.refused.secret) == (True, 0)
    assert kept.refused.reason is Reason.SOURCE_NOT_ALLOWED
    assert kept.refused.client == UNKNOWN
    assert await ids(at.store) == ["ref_2", "ref_1"]
    second = await at.store.get("ref_2")
    assert second is not None
    assert second.refused.head.headers == Headers((("Host", "relay.test"),))


@dataclass
class Waiting:
    """An office whose endpoint lists what the test says, and what releases by itself."""

    office: Office
    hosts: HostOnOrder
    auto: AutoReleaser
    log: io.BytesIO
    writer: LogWriter

    async def find(self, *networks: str) -> None:
        self.hosts.next_look = [*networks]
        await self.hosts.refresh()

    async def told(self) -> list[str]:
        self.writer.close()
        return [line["event"] for line in map(orjson.loads, self.log.getvalue().splitlines())]


def waiting(office: Office) -> Waiting:
    hosts, log = HostOnOrder([LISTED]), io.BytesIO()
    listed = replace(endpoint(), allowlist=Allowlist([hosts]))
    writer = LogWriter(log)
    auto = AutoReleaser(
        office.releaser(listed),
        endpoints=lambda: [listed],
        clock=office.clock,
        telemetry=Telemetry(Log(writer, office.clock)),
    )
    return Waiting(office, hosts, auto, log, writer)


def kept_unknown(at: datetime) -> Refused:
    fits = replace(refused(), client=UNKNOWN, reason=Reason.SOURCE_NOT_ALLOWED, secret=0)
    return replace(fits, signature_fits=True, head=replace(fits.head, received_at=at))


async def test_it_is_released_by_itself_once_its_address_is_found(office: Office) -> None:
    here = waiting(office)
    running = asyncio.ensure_future(here.auto.run())
    here.auto.add(endpoint(), proven(), "ref_1")
    await office.clock.advance(1)
    await here.find(LISTED, "203.0.113.0/24")
    # It is written a moment later.
    await office.clock.advance(1)
    assert await office.events() == 0
    await office.keep(kept_unknown(RECEIVED))
    await office.clock.advance(1)
    await run_loop_until(lambda: here.auto._waiting == [] and not here.auto._news.is_set())
    await run_loop_until(lambda: b"refusal_released" in here.log.getvalue())
    running.cancel()
    await asyncio.wait({running})
    kept = await office.spool.refusals.get("ref_1")
    assert kept is not None
    assert kept.released_as is not None
    assert await here.told() == ["refusal_released"]


async def test_after_ten_minutes_it_is_a_persons_to_release(office: Office) -> None:
    here = waiting(office)
    await office.keep(kept_unknown(RECEIVED))
    here.auto.add(endpoint(), proven(), "ref_1")
    for _ in range(10):
        await here.auto.look()
        await office.clock.advance(59)
    await here.auto.look()
    assert len(here.auto._waiting) == 1
    await office.clock.advance(11)
    await here.find(LISTED, "203.0.113.66")
    await here.auto.look()
    assert here.auto._waiting == []
    assert await office.events() == 0
    # Whoever releases it has seen the address: it need not be listed.
    assert isinstance(await office.releaser(endpoint()).release("ref_1"), Released)


async def test_a_person_releases_no_forgery_of_an_unknown_address(office: Office) -> None:
    await office.keep(replace(kept_unknown(RECEIVED), body=b"{}"))
    result = await office.releaser(endpoint()).release("ref_1")
    assert isinstance(result, StillRefused)
    assert result.reason is Reason.SIGNATURE_MISSING


@pytest.mark.parametrize(("ago", "released"), [(5, 1), (11, 0)])
async def test_what_waited_before_a_restart_waits_on(
    ago: int, released: int, office: Office
) -> None:
    here = waiting(office)
    await office.keep(kept_unknown(office.clock.now() - timedelta(minutes=ago)))
    running = asyncio.ensure_future(here.auto.run())
    await here.find(LISTED, "203.0.113.66")
    await run_loop_until(lambda: len(here.auto._waiting) == released or released == 0)
    running.cancel()
    await asyncio.wait({running})
    await here.auto.look()
    assert await office.events() == released


async def test_one_that_a_token_proved_is_released_without_it(office: Office) -> None:
    tokenless = MIDTRANS.bind(EndpointOptions(secrets=()))
    by_token = replace(endpoint(), token=True, tokenless=tokenless)
    await office.keep(replace(kept_unknown(RECEIVED), secret=1))
    result = await office.releaser(by_token).release("ref_1")
    assert isinstance(result, Released)
    found = await office.spool.get(result.event_id)
    assert found is not None
    # What did not prove itself does not pass for that.
    await office.keep(replace(refused(), id="ref_2", body=b"{}"))
    again = await office.releaser(by_token).release("ref_2")
    assert isinstance(again, StillRefused)
    assert again.reason is Reason.SIGNATURE_MISSING
    await office.keep(replace(kept_unknown(RECEIVED), id="ref_3", body=b"no json"))
    broken = await office.releaser(by_token).release("ref_3")
    assert isinstance(broken, StillRefused)
    assert broken.reason is Reason.BODY_MALFORMED


async def test_what_may_not_be_kept_waits_in_memory_alone(office: Office) -> None:
    here = waiting(office)
    here.auto.add(replace(endpoint(), token=True), replace(proven(), upstreams=()), None)
    await here.auto.look()
    assert await office.events() == 0
    await here.find("203.0.113.66")
    await here.auto.look()
    assert await office.events() == 1
    assert office.unrouted == ["midtrans"]
    assert await ids(office.spool.refusals) == []
    assert here.auto._waiting == []


async def test_no_more_wait_than_a_few_hundred(office: Office) -> None:
    here = waiting(office)
    for number in range(300):
        here.auto.add(endpoint(), proven(), f"ref_{number}")
    assert [here.auto._waiting[at].kept for at in (0, -1)] == ["ref_44", "ref_299"]
