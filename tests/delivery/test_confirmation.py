import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from relay.core.clock import SystemClock
from relay.core.event import Event, Unconfirmed
from relay.core.rate_limit import RETRY_INTERVAL, FairRateLimiter
from relay.core.secret import Secret
from relay.delivery import confirmation
from relay.delivery.attempt import Confirmed, RateLimited
from relay.delivery.circuit_breaker import STATUS_API_BREAKER
from relay.delivery.confirmation import (
    CONCURRENCY,
    UNLINKED,
    StatusClient,
    StatusConfirmer,
    StatusTarget,
)
from relay.providers.midtrans.status import (
    Answer,
    Limited,
    NoAnswer,
    NotFound,
    Transaction,
    notified_transaction,
    parse_answer,
)
from tests.harness.clock import ManualClock
from tests.harness.deliveries import EVENT, lease_of
from tests.harness.upstream import (
    KEY,
    NOT_FOUND,
    RefusingPort,
    StatusApi,
    answer,
    close,
    hang,
    reset,
    says,
    signed,
)

BODY = json.dumps(
    signed(
        {
            "order_id": "order-1",
            "transaction_id": "tx-1",
            "gross_amount": "10000.00",
            "status_code": "200",
            "transaction_status": "settlement",
        }
    )
).encode()
PAID = replace(EVENT, body=BODY)


class Api:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer: Answer = answer or _transaction()
        self.asked: list[tuple[str, Secret]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self, name: str, secret: Secret) -> Answer:
        self.asked.append((name, secret))
        await self.may_answer.wait()
        return self.answer


class Tally:
    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []

    def confirmed(self, endpoint: str, result: str) -> None:
        self.results.append((endpoint, result))


def _transaction() -> Answer:
    found = notified_transaction(BODY)
    assert found is not None
    return found


WAIT = timedelta(hours=1)


def target(api: Api, rate: int = 100, **changes: Any) -> StatusTarget:
    secrets = (Secret("old"), Secret(KEY))
    made: dict[str, Any] = {"secrets": secrets, "strict": True, "wait": WAIT, **changes}
    return StatusTarget(api, limiter=FairRateLimiter(rate), **made)


def confirmer(
    api: Api, clock: ManualClock, tally: Tally, *, rate: int = 100, **changes: Any
) -> "Asking":
    return Asking({"midtrans": target(api, rate, **changes)}, clock, tally)


class Asking:
    """A confirmer that is asked about events that are stored now."""

    def __init__(self, targets: dict[str, StatusTarget], clock: ManualClock, tally: Tally) -> None:
        self._confirmer = StatusConfirmer(targets, {"other"}, clock, tally)
        self._clock = clock

    async def confirm(
        self, event: Event, since: datetime | None = None, earlier: int = 7
    ) -> Confirmed | Unconfirmed | RateLimited | None:
        """Ask; `earlier` attempts were made before the round."""
        lease = lease_of(event, since=since or self._clock.steady())
        return await self._confirmer.confirm(replace(lease, attempt=1 + earlier))


async def test_agreement_is_told_with_the_state_of_now() -> None:
    api, tally = Api(), Tally()
    said = await confirmer(api, ManualClock(), tally).confirm(PAID)
    assert said == Confirmed("settlement")
    assert api.asked == [("tx-1", Secret(KEY))]
    assert tally.results == [("midtrans", "confirmed")]


async def test_other_endpoints_are_not_asked_about() -> None:
    api = Api()
    asks = confirmer(api, ManualClock(), Tally())
    other = replace(PAID, endpoint="other")
    assert await asks.confirm(other) is None
    assert api.asked == []


async def test_what_contradicts_its_signed_part_never_goes_out_for_want_of_an_answer() -> None:
    doubtful = replace(PAID, contradicts=True)
    for told in (NotFound(), NoAnswer("reset"), Limited()):
        asks = confirmer(Api(told), ManualClock(), Tally(), strict=False)
        said = await asks.confirm(doubtful)
        assert isinstance(said, Unconfirmed)
        assert said.strict
    agreed = await confirmer(Api(), ManualClock(), Tally(), strict=False).confirm(doubtful)
    assert agreed == Confirmed("settlement")


async def test_what_contradicts_its_signed_part_is_held_where_nobody_is_asked() -> None:
    doubtful = replace(PAID, endpoint="other", contradicts=True, confirm=True)
    said = await confirmer(Api(), ManualClock(), Tally()).confirm(doubtful)
    assert isinstance(said, Unconfirmed)
    assert said.final
    asks = StatusConfirmer({}, {"other"}, ManualClock(), Tally())
    assert asks.concerns(doubtful)
    assert not asks.concerns(replace(doubtful, contradicts=False))


async def test_failures_are_told_and_may_be_tried_again() -> None:
    end = ManualClock().steady() + WAIT
    for told, result, said in (
        (NotFound(), "not_found", Unconfirmed("not found", not_yet=True, until=end)),
        (
            Limited(timedelta(seconds=9)),
            "limited",
            Unconfirmed("too many requests", timedelta(seconds=9)),
        ),
        (NoAnswer("reset"), "error", Unconfirmed("reset")),
    ):
        tally = Tally()
        assert await confirmer(Api(told), ManualClock(), tally).confirm(PAID) == said
        assert tally.results == [("midtrans", result)]


async def test_contradiction_is_final() -> None:
    tally = Tally()
    other = replace(PAID, body=BODY.replace(b"settlement", b"cancel"))
    said = await confirmer(Api(), ManualClock(), tally).confirm(other)
    assert said == Unconfirmed("cancel was said, and it is settlement", final=True)
    assert tally.results == [("midtrans", "contradicted")]


async def test_an_event_about_no_transaction_cannot_be_confirmed() -> None:
    api = Api()
    said = await confirmer(api, ManualClock(), Tally()).confirm(replace(PAID, body=b"{}"))
    assert said == Unconfirmed("names no transaction", final=True)
    assert api.asked == []


async def test_a_signature_of_a_key_that_is_gone_asks_with_the_first() -> None:
    api = Api()
    forged = replace(PAID, body=BODY.replace(b"10000.00", b"20000.00"))
    await confirmer(api, ManualClock(), Tally()).confirm(forged)
    assert api.asked == [("tx-1", Secret("old"))]


async def test_what_has_to_wait_for_its_turn_is_told_so_and_nothing_is_held_against_it() -> None:
    api, clock, tally = Api(), ManualClock(), Tally()
    asks = confirmer(api, clock, tally, rate=2)
    events = [replace(PAID, id=f"evt-{number}") for number in range(4)]
    said = [await asks.confirm(event) for event in events]
    assert said == [
        Confirmed("settlement"),
        Confirmed("settlement"),
        RateLimited(0.5),
        RateLimited(1.0),
    ]
    assert tally.results == [("midtrans", "confirmed")] * 2
    await clock.advance(0.5)
    # Who comes first does not go first: the place was kept.
    assert await asks.confirm(replace(PAID, id="new")) == RateLimited(1.0)
    assert await asks.confirm(events[2]) == Confirmed("settlement")
    await clock.advance(0.5)
    assert await asks.confirm(events[3]) == Confirmed("settlement")
    assert len(api.asked) == 4


async def test_while_every_question_is_under_way_nobody_waits_for_an_answer() -> None:
    api, clock = Api(), ManualClock()
    api.may_answer.clear()
    asks = confirmer(api, clock, Tally())
    async with asyncio.TaskGroup() as group:
        for number in range(CONCURRENCY):
            group.create_task(asks.confirm(replace(PAID, id=f"evt-{number}")))
        await clock.advance(0)
        assert await asks.confirm(replace(PAID, id="late")) == RateLimited(RETRY_INTERVAL)
        assert len(api.asked) == CONCURRENCY
        api.may_answer.set()
    await clock.advance(RETRY_INTERVAL)
    assert await asks.confirm(replace(PAID, id="late")) == Confirmed("settlement")


async def test_an_api_that_does_not_answer_is_left_alone() -> None:
    api, clock = Api(NoAnswer("timeout")), ManualClock()
    asks = confirmer(api, clock, Tally())
    failures = STATUS_API_BREAKER.failures
    for number in range(failures):
        assert await asks.confirm(PAID) == Unconfirmed("timeout", asked=number)
    for number in range(5):
        left_alone = Unconfirmed("api left alone", timedelta(seconds=1), asked=failures + number)
        assert await asks.confirm(PAID) == left_alone
    assert len(api.asked) == STATUS_API_BREAKER.failures
    await clock.advance(1)
    api.answer = _transaction()
    for _ in range(2):
        assert await asks.confirm(PAID) == Confirmed("settlement", asked=failures + 5)


async def test_a_name_that_cannot_be_asked_for_is_not_held_against_the_api() -> None:
    api = Api(NoAnswer("unaskable"))
    asks = confirmer(api, ManualClock(), Tally())
    for _ in range(STATUS_API_BREAKER.failures + 5):
        await asks.confirm(PAID)
    assert len(api.asked) == STATUS_API_BREAKER.failures + 5


async def test_an_event_of_an_endpoint_that_is_gone_does_not_go_out_unasked() -> None:
    # Whether another endpoint asks makes no difference.
    for targets in ({"midtrans": target(Api())}, {}):
        asks = Asking(targets, ManualClock(), Tally())
        for name, confirm, orphan in (
            ("gone", True, True),
            ("gone", False, False),
            ("other", True, False),
            ("other", False, False),
        ):
            event = replace(EVENT, endpoint=name, confirm=confirm)
            said = Unconfirmed("endpoint gone is not configured; name it again")
            assert await asks.confirm(event) == (said if orphan else None)


async def test_the_pause_that_an_api_asks_for_is_within_the_schedule_of_all() -> None:
    api, clock = Api(Limited(timedelta(seconds=9))), ManualClock()
    asks = confirmer(api, clock, Tally())
    await asks.confirm(PAID)
    await clock.advance(4)
    other = replace(PAID, id="other")
    assert await asks.confirm(other) == Unconfirmed("api left alone", timedelta(seconds=5))
    assert len(api.asked) == 1


# ---- spelled otherwise ----------------------------------------------------------------------
# For DANA and some banks the API has the transaction id in `order_id`.


class Book:
    """Answers each id as it is told, with a copy of the paid transaction that differs in this."""

    def __init__(self, **answers: dict[str, str] | Answer) -> None:
        self._answers = {name.replace("_", "-"): each for name, each in answers.items()}
        self.asked: list[str] = []
        self.keys: list[Secret] = []

    async def ask(self, name: str, secret: Secret) -> Answer:
        self.asked.append(name)
        self.keys.append(secret)
        found = self._answers.get(name, NotFound())
        if not isinstance(found, dict):
            return found
        message = json.loads(BODY) | found
        message = {name: value for name, value in message.items() if value is not None}
        if "signature_key" not in found:
            message = signed(message)
        return parse_answer(200, json.dumps(message).encode())


def asking(book: Book, clock: ManualClock | None = None, **changes: Any) -> Asking:
    return confirmer(book, clock or ManualClock(), Tally(), **changes)  # type: ignore[arg-type]


SIGNED_OVER_THE_ORDER = json.loads(BODY)["signature_key"]


async def test_an_answer_that_has_the_transaction_id_for_an_order_id_is_signed_over_the_order() -> (
    None
):
    book = Book(tx_1={"order_id": "tx-1", "signature_key": SIGNED_OVER_THE_ORDER.upper()})
    assert await asking(book).confirm(PAID) == Confirmed("settlement")
    assert book.asked == ["tx-1"]


@pytest.mark.parametrize("signature", [{}, {"signature_key": ""}, {"signature_key": "0" * 128}])
@pytest.mark.parametrize("transaction", [{}, {"transaction_id": ""}])
async def test_or_else_the_answer_for_the_order_id_has_to_name_the_transaction(
    signature: dict[str, str], transaction: dict[str, str]
) -> None:
    named = {"order_id": "tx-1", **signature, **transaction}
    for by_order in (named, {}):
        book = Book(tx_1=named, order_1=by_order)
        assert await asking(book).confirm(PAID) == Confirmed("settlement")
        assert book.asked == ["tx-1", "order-1"]


async def test_no_answer_that_names_only_one_of_the_two_is_enough() -> None:
    book = Book(tx_1={"order_id": "tx-1"}, order_1={"transaction_id": ""})
    said = await asking(book).confirm(PAID)
    assert isinstance(said, Unconfirmed)
    assert (said.cause, said.not_yet, said.final) == (UNLINKED, True, False)


@pytest.mark.parametrize("signature", [{}, {"signature_key": ""}])
@pytest.mark.parametrize("order", ["tx-1", "order-mine"])
async def test_the_triple_of_one_order_is_not_confirmed_by_a_payment_of_another(
    signature: dict[str, str], order: str
) -> None:
    # Of the same amount: a customer's own payment tx-1, and the signed fields of somebody's order.
    mine = {"order_id": order, **signature}
    somebodys = {"transaction_id": "tx-2"}
    for theirs in (somebodys, {**somebodys, "order_id": "tx-2"}, {"order_id": "tx-2"}):
        said = await asking(Book(tx_1=mine, order_1=theirs, **{"tx-2": theirs})).confirm(PAID)
        assert isinstance(said, Unconfirmed)
        assert said.final
    for nothing in ({"transaction_id": ""}, NotFound(), NoAnswer("reset")):
        said = await asking(Book(tx_1={**mine, "order_id": "tx-1"}, order_1=nothing)).confirm(PAID)
        assert isinstance(said, Unconfirmed)


async def test_an_order_that_is_named_like_a_transaction_is_not_confirmed() -> None:
    message = signed(json.loads(BODY) | {"order_id": "tx-1"})
    event = replace(EVENT, body=json.dumps(message).encode())
    book = Book(tx_1={"order_id": "tx-1"})
    said = await asking(book).confirm(event)
    assert isinstance(said, Unconfirmed)
    assert (said.cause, book.asked) == (UNLINKED, ["tx-1"])


async def test_the_second_question_waits_for_the_rate_too_and_the_first_is_not_asked_again() -> (
    None
):
    book, clock = Book(tx_1={"order_id": "tx-1"}, order_1={}), ManualClock()
    asks = asking(book, clock, rate=1)
    assert await asks.confirm(PAID) == RateLimited(1.0)
    await clock.advance(1)
    assert await asks.confirm(PAID) == Confirmed("settlement")
    assert book.asked == ["tx-1", "order-1"]


# ---- how long it is asked -------------------------------------------------------------------


async def test_a_state_that_can_lead_to_the_notified_one_is_asked_about_again() -> None:
    tally, clock = Tally(), ManualClock()
    behind = {"transaction_status": "pending", "status_code": "201"}
    asks = confirmer(Book(tx_1=behind), clock, tally)  # type: ignore[arg-type]
    said = await asks.confirm(PAID)
    cause = "settlement was said, and it is pending"
    assert said == Unconfirmed(cause, not_yet=True, until=clock.steady() + WAIT)
    assert tally.results == [("midtrans", "not_yet")]


async def test_the_wait_counts_from_the_first_answer_that_knows_nothing() -> None:
    clock, api = ManualClock(), Api(NoAnswer("reset"))
    asks, stored = confirmer(api, clock, Tally()), clock.steady()
    assert await asks.confirm(PAID, stored) == Unconfirmed("reset")
    await clock.advance(7200)
    api.answer, since = NotFound(), clock.steady()
    for number in range(1, 4):
        # Waiting for the rate moves the start of a round.
        said = await asks.confirm(PAID, stored + timedelta(hours=number))
        assert said == Unconfirmed("not found", not_yet=True, until=since + WAIT, asked=number)
        await clock.advance(1800)
    # A requeue begins anew, and so does an event that was confirmed meanwhile.
    said = await asks.confirm(PAID, stored, earlier=9)
    assert said == Unconfirmed("not found", not_yet=True, until=clock.steady() + WAIT)
    api.answer = _transaction()
    assert await asks.confirm(PAID, stored, earlier=9) == Confirmed("settlement", asked=1)
    api.answer = NotFound()
    await clock.advance(60)
    said = await asks.confirm(PAID, stored, earlier=9)
    until = clock.steady() + WAIT
    assert said == Unconfirmed("not found", not_yet=True, until=until, asked=1)


async def test_what_may_go_unconfirmed_waits_as_long_for_an_api_that_fails() -> None:
    clock = ManualClock()
    asks = confirmer(Api(NoAnswer("reset")), clock, Tally(), strict=False)
    until = clock.steady() + WAIT
    assert await asks.confirm(PAID) == Unconfirmed("reset", strict=False, until=until)


async def test_what_was_contradicted_does_not_go_out_for_want_of_an_answer_when_it_is_revived() -> (
    None
):
    paid = notified_transaction(BODY)
    assert paid is not None
    clock, api = ManualClock(), Api(replace(paid, state="expire"))
    asks = confirmer(api, clock, Tally(), strict=False)
    said = await asks.confirm(PAID)
    assert said == Unconfirmed("settlement was said, and it is expire", final=True)
    for silence in (NoAnswer("reset"), NotFound()):
        api.answer = silence
        again = await asks.confirm(PAID, earlier=1)
        assert isinstance(again, Unconfirmed)
        assert again.strict
    api.answer = paid
    assert isinstance(await asks.confirm(PAID, earlier=1), Confirmed)
    api.answer = NoAnswer("reset")
    last = await asks.confirm(PAID, earlier=1)
    assert isinstance(last, Unconfirmed)
    assert not last.strict


async def test_only_so_many_events_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation, "MAX_WAITING", 2)
    clock, found = ManualClock(), target(Api(NotFound()))
    asks = Asking({"midtrans": found}, clock, Tally())
    for number in range(5):
        await asks.confirm(replace(PAID, id=f"evt-{number}"))
        found.waiting.ask_by_order(f"evt-{number}")
    assert [*found.waiting._since] == [*found.waiting._by_order] == ["evt-3", "evt-4"]


async def test_another_key_may_ask_than_the_one_that_signs() -> None:
    message = json.loads(BODY)
    covered = message["order_id"] + message["status_code"] + message["gross_amount"] + "merchant"
    by_merchant = {"signature_key": hashlib.sha512(covered.encode()).hexdigest()}
    for signature in ({}, by_merchant):
        book = Book(tx_1=signature)
        asks = asking(book, key=Secret("merchant"))
        assert await asks.confirm(PAID) == Confirmed("settlement")
        assert book.keys == [Secret("merchant")]
    # Where no key is named, what it signs is not taken.
    said = await asking(Book(tx_1=by_merchant)).confirm(PAID)
    assert said == Unconfirmed("signature_key of the answer is wrong", final=True)


# ---- asking over HTTP -----------------------------------------------------------------------

SECRET = Secret("SB-Mid-server-1")
FOUND = signed(
    {
        "order_id": "a/b #1 é",
        "status_code": "200",
        "gross_amount": "1.00",
        "transaction_status": "settlement",
    }
)


@pytest.fixture
async def api() -> AsyncIterator[StatusApi]:
    async with StatusApi() as running:
        yield running


@pytest.fixture
async def asks(api: StatusApi) -> AsyncIterator[StatusClient]:
    found = StatusClient(api.url + "/", SystemClock())
    yield found
    await found.close()


async def test_the_question_is_one_the_api_understands(api: StatusApi, asks: StatusClient) -> None:
    api.behave(says(FOUND))
    found = await asks.ask("a/b #1 é", SECRET)
    assert isinstance(found, Transaction)
    assert found.order_id == "a/b #1 é"
    [asked] = api.asked
    assert (asked.method, asked.target, asked.body) == (
        *("GET", "/v2/a%2Fb%20%231%20%C3%A9/status", b""),
    )
    # The key and a colon, in Base64.
    assert asked.values("Authorization") == ["Basic U0ItTWlkLXNlcnZlci0xOg=="]


async def test_what_it_answers_is_read(api: StatusApi, asks: StatusClient) -> None:
    assert await asks.ask("1", SECRET) == NotFound()
    api.behave(answer(429, [("Retry-After", "30")]))
    assert await asks.ask("1", SECRET) == Limited(timedelta(seconds=30))


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (close, "closed"),
        (reset, "reset"),
        (answer(200, body=b"{" * 300_000), "oversized"),
        (answer(200, [("Content-Encoding", "gzip")], b"{}"), "malformed answer"),
        (answer(307, [("Location", "/elsewhere")]), "http 307"),
    ],
)
async def test_what_goes_wrong_is_named(
    api: StatusApi, asks: StatusClient, behaviour: object, cause: str
) -> None:
    api.behave(behaviour)  # type: ignore[arg-type] # a list of several kinds
    assert await asks.ask("1", SECRET) == NoAnswer(cause)
    assert len(api.asked) == 1


async def test_a_hanging_api_is_waited_for_no_longer_than_said(
    api: StatusApi, asks: StatusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation, "STATUS_TIMEOUT", 0.05)
    api.behave(hang)
    assert await asks.ask("1", SECRET) == NoAnswer("timeout")


async def test_nobody_listens() -> None:
    with RefusingPort() as url:
        asks = StatusClient(url, SystemClock())
        assert await asks.ask("1", SECRET) == NoAnswer("refused")
        await asks.close()


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_a_name_that_would_lead_elsewhere_is_not_asked_for(
    api: StatusApi, asks: StatusClient, name: str
) -> None:
    assert await asks.ask(name, SECRET) == NoAnswer("unaskable")
    assert api.asked == []


async def test_a_lone_surrogate_is_not_asked_for(api: StatusApi, asks: StatusClient) -> None:
    assert await asks.ask("\ud800", SECRET) == NoAnswer("unaskable")


async def test_connections_are_kept(api: StatusApi, asks: StatusClient) -> None:
    api.behave(says(NOT_FOUND))
    await asks.ask("1", SECRET)
    await asks.ask("2", SECRET)
    assert api.server.connections == 1


@pytest.mark.parametrize(
    "echoed", ["SB-Mid-server-1", "Basic U0ItTWlkLXNlcnZlci0xOg==", "a U0ItTWlkLXNlcnZlci0xOg== b"]
)
async def test_an_answer_that_repeats_the_key_is_not_taken(
    api: StatusApi, asks: StatusClient, echoed: str
) -> None:
    api.behave(says({**FOUND, "status_message": echoed}))
    assert await asks.ask("1", SECRET) == NoAnswer("malformed answer")
