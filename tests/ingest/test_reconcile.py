import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from relay.core.conditions import HeaderCondition, JsonCondition
from relay.core.errors import RelayError
from relay.core.event import Status
from relay.core.ids import event_ids
from relay.core.rate_limit import TokenBucket
from relay.core.request import Delivery, RequestHead, VerifiedDelivery
from relay.core.secret import Secret
from relay.ingest.reconcile import (
    BadOrders,
    Checkpoint,
    KeyRefused,
    Reconciler,
    ReconcileResult,
    ReconcileTarget,
    Result,
    parse_orders,
)
from relay.ingest.upstream_routes import UpstreamRoute
from relay.providers import EndpointOptions
from relay.providers.builtin import provider_named
from relay.providers.midtrans.status import Answer, Limited, NoAnswer, NotFound, parse_answer
from relay.spool import Duplicate, Spool
from relay.spool.history import Query
from relay.spool.sqlite import open_spool
from tests.harness.clock import ManualClock
from tests.harness.deliveries import verified
from tests.harness.upstream import KEY, signed, status_of

NOTIFIED = signed(
    {
        "order_id": "order-1",
        "transaction_id": "tx-1",
        "gross_amount": "10000.00",
        "status_code": "200",
        "transaction_status": "settlement",
        "status_message": "midtrans payment notification",
    }
)
BODY = json.dumps(NOTIFIED).encode()
SECRETS = (Secret("old"), Secret(KEY))
INSPECTOR = provider_named("midtrans").bind(EndpointOptions(secrets=SECRETS))


class Api:
    """Gives these answers in turn; the last one stays."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Secret]] = []

    async def ask(self, name: str, secret: Secret) -> Answer:
        self.asked.append((name, secret))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def found(**changes: str) -> Answer:
    return parse_answer(200, json.dumps(status_of(BODY, **changes)).encode())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def spool(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Spool]:
    opened = await open_spool(tmp_path / "relay.db", clock)
    yield opened
    await opened.close()


async def learn(
    api: Api,
    spool: Spool,
    clock: ManualClock,
    order: str = "order-1",
    *,
    key: Secret | None = None,
    routes: tuple[UpstreamRoute, ...] = (),
) -> ReconcileResult:
    account = ReconcileTarget(
        *("midtrans", "/midtrans", "midtrans", "sandbox"),
        ("billing",),
        INSPECTOR,
        SECRETS,
        key=key,
        routes=routes,
    )
    reconciler = Reconciler(
        account, api=api, bucket=TokenBucket(10), spool=spool, clock=clock, new_id=event_ids()
    )
    task = asyncio.get_running_loop().create_task(reconciler.reconcile(order))
    while not task.done():
        await clock.advance(1)
        await asyncio.wait([task], timeout=0.01)
    return await task


def notification(**changes: str) -> VerifiedDelivery:
    """Return the notification as it would have come."""
    body = json.dumps(signed(NOTIFIED | changes)).encode()
    made = verified(body=body)
    head = RequestHead(
        "POST", "/midtrans", made.headers, made.delivery.head.peer, made.delivery.head.received_at
    )
    delivery = Delivery("midtrans", head, made.delivery.client, "", body)
    return VerifiedDelivery(
        made.event_id,
        *("midtrans", "sandbox"),
        ("billing",),
        made.headers,
        delivery,
        INSPECTOR.verify(delivery),
    )


async def test_what_is_learnt_is_an_event_like_any_other(spool: Spool, clock: ManualClock) -> None:
    one = await learn(Api(found()), spool, clock)
    assert (one.order, one.result) == ("order-1", Result.NEW)
    [record] = (await spool.page(Query())).records
    assert (record.id, record.status, record.reconciled) == (one.event, Status.PENDING, True)
    assert record.key == "tx-1:settlement:200:"
    [lease] = (await spool.claim("billing", 1, timedelta(seconds=9), ordered=False)).leases
    assert lease.event.reconciled
    assert json.loads(lease.event.body)["status_message"] == "Success, transaction is found"
    assert lease.event.signed == ("order_id", "status_code", "gross_amount")


@pytest.mark.parametrize(("state", "upstream"), [("settlement", "ledger"), ("expire", "billing")])
async def test_what_is_learnt_takes_its_route(
    state: str, upstream: str, spool: Spool, clock: ManualClock
) -> None:
    routes = (
        # An answer of the API has no header fields of a sender.
        UpstreamRoute(HeaderCondition("Content-Type", ("text/plain",)), ()),
        UpstreamRoute(JsonCondition("/transaction_status", ("settlement",)), ("ledger",)),
    )
    answer = found(transaction_status=state)
    result = await learn(Api(answer), spool, clock, routes=routes)
    assert result.event is not None
    stored = await spool.get(result.event)
    assert stored is not None
    assert [each.upstream for each in stored[0].destinations] == [upstream]


async def test_a_notification_that_came_makes_it_known(spool: Spool, clock: ManualClock) -> None:
    before = notification()
    await spool.put(before)
    one = await learn(Api(found()), spool, clock)
    assert one == ReconcileResult("order-1", Result.KNOWN, before.event_id)
    assert len((await spool.page(Query())).records) == 1


async def test_a_notification_that_comes_later_is_a_duplicate(
    spool: Spool, clock: ManualClock
) -> None:
    one = await learn(Api(found()), spool, clock)
    assert await spool.put(notification()) == Duplicate(str(one.event))


async def test_another_state_is_another_event(spool: Spool, clock: ManualClock) -> None:
    await spool.put(notification(transaction_status="pending", status_code="201"))
    assert (await learn(Api(found()), spool, clock)).result is Result.NEW


async def test_a_notification_that_lied_about_its_transaction_is_reported(
    spool: Spool, clock: ManualClock
) -> None:
    lie = notification(order_id="cheap", gross_amount="1.00")
    await spool.put(lie)
    one = await learn(Api(found()), spool, clock)
    assert (one.result, one.event) == (Result.ERROR, lie.event_id)


async def test_a_transaction_may_be_asked_for_by_its_own_id(
    spool: Spool, clock: ManualClock
) -> None:
    assert (await learn(Api(found()), spool, clock, "tx-1")).result is Result.NEW


@pytest.mark.parametrize(
    "answer",
    [
        {"order_id": "tx-1"},
        {"order_id": "tx-1", "signature_key": ""},
        {"signature_key": NOTIFIED["signature_key"].upper()},
        {"gross_amount": 10000},
    ],
)
async def test_an_answer_that_is_spelled_otherwise_is_the_notifications_event(
    spool: Spool, clock: ManualClock, answer: dict[str, object]
) -> None:
    told = parse_answer(200, json.dumps(status_of(BODY) | answer).encode())
    one = await learn(Api(told), spool, clock)
    assert one.result is Result.NEW
    [lease] = (await spool.claim("billing", 1, timedelta(seconds=9), ordered=False)).leases
    named = {name: json.loads(lease.event.body)[name] for name in lease.event.signed}
    assert named == {name: NOTIFIED[name] for name in lease.event.signed}
    assert await spool.put(notification()) == Duplicate(str(one.event))
    assert (await learn(Api(told), spool, clock)).result is Result.KNOWN


async def test_an_answer_that_does_not_name_the_order_is_an_error(
    spool: Spool, clock: ManualClock
) -> None:
    one = await learn(Api(found(order_id="tx-1")), spool, clock, "tx-1")
    assert one.detail == "the answer names no order; ask by the order id"


async def test_the_key_for_asking_is_used_where_there_is_one(
    spool: Spool, clock: ManualClock
) -> None:
    api = Api(found())
    await learn(api, spool, clock, key=Secret("merchant"))
    assert [secret for _, secret in api.asked] == [Secret("merchant")]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (found(order_id="another", transaction_id="x"), "the answer is about another order"),
        (found(signature_key="0" * 128), "signature_mismatch"),
        (NoAnswer("timeout"), "timeout"),
        (Limited(), "too many requests"),
    ],
)
async def test_what_cannot_be_learnt_is_an_error_and_nothing_is_stored(
    spool: Spool, clock: ManualClock, answer: Answer, detail: str
) -> None:
    one = await learn(Api(answer), spool, clock)
    assert one.result is Result.ERROR
    assert detail in str(one.detail)
    assert (await spool.page(Query())).records == ()


async def test_not_found_is_an_answer(spool: Spool, clock: ManualClock) -> None:
    api = Api(NotFound())
    assert await learn(api, spool, clock) == ReconcileResult("order-1", Result.NOT_FOUND)
    assert len(api.asked) == 1


async def test_failures_are_tried_again_after_a_pause(spool: Spool, clock: ManualClock) -> None:
    before = clock.monotonic()
    api = Api(NoAnswer("reset"), Limited(timedelta(seconds=30)), found())
    assert (await learn(api, spool, clock)).result is Result.NEW
    assert clock.monotonic() - before >= 31


async def test_a_key_that_is_refused_gives_way_to_the_next(
    spool: Spool, clock: ManualClock
) -> None:
    api = Api(NoAnswer("http 401", refused=True), found())
    assert (await learn(api, spool, clock)).result is Result.NEW
    assert [secret for _, secret in api.asked] == list(SECRETS)


async def test_without_a_key_that_is_taken_nothing_goes_on(
    spool: Spool, clock: ManualClock
) -> None:
    with pytest.raises(KeyRefused, match="midtrans"):
        await learn(Api(NoAnswer("http 401", refused=True)), spool, clock)


# ---- checkpoints ----------------------------------------------------------------------------


def test_what_was_answered_is_remembered_for_a_day(tmp_path: Path) -> None:
    clock = ManualClock()
    cache = Checkpoint(tmp_path / "asked.jsonl", clock)
    assert cache.load() == frozenset()
    cache.add("order-1")
    clock.jump(timedelta(hours=23))
    cache.add("order 2 é")
    assert cache.load() == {"order-1", "order 2 é"}
    clock.jump(timedelta(hours=2))
    assert cache.load() == {"order 2 é"}


def test_a_line_that_was_cut_off_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    cache = Checkpoint(path, ManualClock())
    cache.add("order-1")
    with path.open("ab") as file:
        file.write(b'\n{"order": "half')
    cache.add("order-2")
    assert cache.load() == {"order-1", "order-2"}


def test_it_can_be_forgotten(tmp_path: Path) -> None:
    cache = Checkpoint(tmp_path / "asked.jsonl", ManualClock())
    cache.clear()
    cache.add("order-1")
    cache.clear()
    assert cache.load() == frozenset()


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    cache = Checkpoint(tmp_path, ManualClock())
    for act in (cache.load, lambda: cache.add("1"), cache.clear):
        with pytest.raises(RelayError, match=str(tmp_path)):
            act()


# ---- lists of orders ------------------------------------------------------------------------


def test_ids_are_read_one_a_line_each_once() -> None:
    listed = b"\xef\xbb\xbforder-1\r\n\n  2016-10-20 12:39:16 +0700 \n#7\norder-1"
    assert parse_orders(listed) == ("order-1", "2016-10-20 12:39:16 +0700", "#7")
    assert parse_orders(b"") == ()


@pytest.mark.parametrize(
    "order",
    [
        "\u3000order\u30001\u3000",
        "\xa0order-1\xa0",
        "order\u200d1",
        "заказ-1",
        "\N{GRINNING FACE}",
        "a\u2028b",
        "\ufefforder",
        "#7 ~a_b.c+/%?&",
    ],
)
def test_whatever_may_stand_in_an_order_id_is_read_as_it_is(order: str) -> None:
    assert parse_orders(f"first\n{order}\nlast\n".encode()) == ("first", order, "last")


def test_a_bad_list_is_refused_whole_with_every_line() -> None:
    with pytest.raises(BadOrders) as caught:
        parse_orders(b"good\n" + b"x" * 256 + b"\na\tb\n\xff\ngood\n\xc2\x85a\nx\xe4\n")
    said = "is the control character"
    assert caught.value.problems == (
        (2, "longer than 255 characters; write one id a line"),
        (3, f"character 2 {said} U+0009; write one id a line and nothing else"),
        (4, "not UTF-8: it holds byte 0xff; save it as UTF-8"),
        (6, f"character 1 {said} U+0085; write one id a line and nothing else"),
        (7, "not UTF-8: it holds byte 0xe4; save it as UTF-8"),
    )
    assert str(caught.value).startswith("line 2: longer than 255 characters")


def test_a_list_in_utf16_is_told_once() -> None:
    with pytest.raises(BadOrders, match=r"^line 1: the list is UTF-16; save it as UTF-8$"):
        parse_orders("order-1\norder-2\n".encode("utf-16"))
