import asyncio
import json
from dataclasses import replace
from datetime import timedelta

from relay.confirm.confirmer import Desk, StatusConfirmer
from relay.confirm.pace import FAILURES, Bucket
from relay.confirm.status import Answer, Limited, NoAnswer, NotFound, notified
from relay.model import Unconfirmed
from relay.secret import Secret
from relay.upstream.attempts import Confirmed
from tests.harness.clock import ManualClock
from tests.harness.leases import EVENT
from tests.harness.statusapi import KEY, signed

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
    found = notified(BODY)
    assert found is not None
    return found


def confirmer(
    api: Api, clock: ManualClock, tally: Tally, *, rate: int = 100, strict: bool = True
) -> StatusConfirmer:
    secrets = (Secret("old"), Secret(KEY))
    desks = {"midtrans": Desk(api, secrets, Bucket(rate), strict)}
    return StatusConfirmer(desks, {"midtrans", "other"}, clock, tally)


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
    assert (asks.strict(PAID), asks.strict(other)) == (True, False)
    assert not confirmer(api, ManualClock(), Tally(), strict=False).strict(PAID)
    assert api.asked == []


async def test_failures_are_told_and_may_be_tried_again() -> None:
    for answer, result, said in (
        (NotFound(), "not_found", Unconfirmed("not found")),
        (
            Limited(timedelta(seconds=9)),
            "limited",
            Unconfirmed("too many requests", timedelta(seconds=9)),
        ),
        (NoAnswer("reset"), "error", Unconfirmed("reset")),
    ):
        tally = Tally()
        assert await confirmer(Api(answer), ManualClock(), tally).confirm(PAID) == said
        assert tally.results == [("midtrans", result)]


async def test_contradiction_is_final() -> None:
    tally = Tally()
    other = replace(PAID, body=BODY.replace(b"settlement", b"refund"))
    said = await confirmer(Api(), ManualClock(), tally).confirm(other)
    assert said == Unconfirmed("refund was said, and it is settlement", final=True)
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


async def test_questions_keep_their_distance() -> None:
    api, clock = Api(), ManualClock()
    asks = confirmer(api, clock, Tally(), rate=2)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(asks.confirm(PAID))
        await clock.advance(0)
        assert len(api.asked) == 2
        await clock.advance(0.5)
        assert len(api.asked) == 3
        await clock.advance(0.5)
        assert len(api.asked) == 4


async def test_what_would_wait_too_long_comes_again_later() -> None:
    api, clock = Api(), ManualClock()
    asks = confirmer(api, clock, Tally(), rate=1)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asks.confirm(PAID)) for _ in range(8)]
        await clock.advance(10)
    assert [task.result() for task in tasks].count(Unconfirmed("api left alone")) == 2
    assert len(api.asked) == 6


async def test_an_api_that_does_not_answer_is_left_alone() -> None:
    api, clock = Api(NoAnswer("timeout")), ManualClock()
    asks = confirmer(api, clock, Tally())
    for _ in range(FAILURES + 5):
        assert isinstance(await asks.confirm(PAID), Unconfirmed)
    assert len(api.asked) == FAILURES
    await clock.advance(1)
    api.answer = _transaction()
    assert await asks.confirm(PAID) == Confirmed("settlement")
    assert await asks.confirm(PAID) == Confirmed("settlement")


async def test_a_name_that_cannot_be_asked_for_is_not_held_against_the_api() -> None:
    api = Api(NoAnswer("unaskable"))
    asks = confirmer(api, ManualClock(), Tally())
    for _ in range(FAILURES + 5):
        await asks.confirm(PAID)
    assert len(api.asked) == FAILURES + 5


async def test_an_event_of_an_endpoint_that_is_gone_does_not_go_out_unasked() -> None:
    none = StatusConfirmer({}, (), ManualClock(), Tally())
    desk = Desk(Api(), (Secret(KEY),), Bucket(10), strict=True)
    asks = StatusConfirmer({"midtrans": desk}, {"midtrans", "other"}, ManualClock(), Tally())
    for name, orphan in (("renamed", True), ("other", False)):
        event = replace(EVENT, endpoint=name)
        assert (await asks.confirm(event) is None) is not orphan
        assert asks.strict(event) is orphan
        # Where nobody asks, nothing is kept back.
        assert await none.confirm(event) is None
