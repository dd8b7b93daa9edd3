"""Desks stay where they are the same, and how often was asked stays known."""

import io
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from relay.app.generation import StatusTargetPool, StatusTargets
from relay.config import Endpoint
from relay.core.clock import SystemClock
from relay.core.event import Unconfirmed
from relay.delivery.confirmation import StatusTarget
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.config.files import GOOD, VIPPS, good
from tests.harness.leases import EVENT
from tests.harness.statusapi import NOT_FOUND, StatusApi, says

#: Answered on no port.
URL = "http://127.0.0.1:1"


@pytest.fixture
async def targets() -> AsyncIterator[StatusTargetPool]:
    writer = LogWriter(io.BytesIO())
    made = StatusTargetPool(SystemClock(), Telemetry(Log(writer, SystemClock())))
    yield made
    await made.close()
    writer.close()


def endpoints(confirm: str, *changes: tuple[str, str]) -> tuple[Endpoint, ...]:
    text = GOOD + f"    confirm: {{{confirm}}}\n" + VIPPS
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return good(text).endpoints


def target(targets: StatusTargets) -> StatusTarget:
    (entry,) = targets.targets.values()
    return entry.part


ASKING = endpoints(f"url: '{URL}'")


async def test_what_is_the_same_stays(targets: StatusTargetPool) -> None:
    targets.activate(first := targets.acquire(ASKING))
    changed = endpoints(f"url: '{URL}'", ("/vipps", "/other"), ("/midtrans/", "/elsewhere/"))
    assert targets.acquire(changed).confirmer is first.confirmer


@pytest.mark.parametrize(
    "changed",
    [
        endpoints(f"url: '{URL}'", ("${env:KEY}", "${env:OTHER}")),
        endpoints(f"url: '{URL}', on_error: deliver"),
    ],
)
async def test_a_new_desk_asks_no_more_often(
    changed: tuple[Endpoint, ...], targets: StatusTargetPool
) -> None:
    targets.activate(first := targets.acquire(ASKING))
    after = targets.acquire(changed)
    assert target(after) is not target(first)
    assert target(after).limiter is target(first).limiter
    assert target(after).secrets == changed[0].secrets
    assert target(after).strict is (
        target(first).strict and "deliver" not in str(changed[0].confirm)
    )


@pytest.mark.parametrize(
    "changed",
    [
        endpoints(f"url: '{URL}', rate: 11"),
        endpoints(f"url: '{URL}/other'"),
        endpoints(
            f"url: '{URL}'",
            ('production\n    secrets: ["${env:KEY', 'sandbox\n    secrets: ["${env:KEY'),
        ),
    ],
)
async def test_another_api_or_pace_begins_anew(
    changed: tuple[Endpoint, ...], targets: StatusTargetPool
) -> None:
    targets.activate(first := targets.acquire(ASKING))
    assert target(targets.acquire(changed)).limiter is not target(first).limiter


async def test_a_changed_desk_leaves_its_neighbour_alone(targets: StatusTargetPool) -> None:
    more = (ASKING[0].model_copy(update={"name": "more"}),)
    targets.activate(first := targets.acquire(ASKING + more))
    changed = endpoints(f"url: '{URL}', rate: 11")
    after = targets.acquire(changed + more)
    assert after.confirmer is not first.confirmer
    assert after.targets["more"] is first.targets["more"]
    targets.activate(after)
    assert targets.retired() == [first.targets["midtrans"]]
    await targets.close(targets.retired())
    assert targets.retired() == []


async def test_events_of_an_endpoint_that_is_gone_are_not_let_through(
    targets: StatusTargetPool,
) -> None:
    async with StatusApi(says(NOT_FOUND)) as api:
        asking = endpoints(f'url: "{api.url}"')
        targets.activate(first := targets.acquire(asking))
        body = b'{"order_id": "1", "status_code": "200", "gross_amount": "1.00",'
        event = replace(EVENT, body=body + b' "transaction_status": "deny"}')
        assert await first.confirmer.confirm(event) == Unconfirmed("not found")
        assert await first.confirmer.confirm(replace(event, endpoint="vipps")) is None
        owed = replace(event, confirm=True)
        for without in (asking[1:], ()):
            targets.activate(after := targets.acquire(without))
            gone = await after.confirmer.confirm(owed)
            assert gone == Unconfirmed("endpoint midtrans is not configured; name it again")
            assert after.confirmer.strict(owed)
            # Nothing was promised of the events of others.
            assert await after.confirmer.confirm(replace(event, endpoint="gone")) is None
        # The configuration has the last word.
        targets.activate(
            after := targets.acquire((asking[0].model_copy(update={"confirm": None}),))
        )
        assert await after.confirmer.confirm(owed) is None


async def test_endpoints_that_do_not_ask_come_and_go_and_nothing_is_made_anew(
    targets: StatusTargetPool,
) -> None:
    targets.activate(first := targets.acquire(ASKING))
    targets.activate(after := targets.acquire(ASKING[:1]))
    assert after.confirmer is first.confirmer
