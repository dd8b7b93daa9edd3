from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.delivery import confirmation
from relay.delivery.confirmation import StatusClient
from relay.providers.midtrans.status import Limited, NoAnswer, NotFound, Transaction
from tests.harness.statusapi import NOT_FOUND, StatusApi, says, signed
from tests.harness.upstream import RefusingPort, answer, close, hang, reset

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
