"""A spool is judged by another configuration: changes are listed, what is not judged counted."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.admin.requeueing import Order
from relay.config import Settings
from relay.config.loader import load
from relay.config.routes import Route
from relay.core.event import Delivered, Done, ProxiedDelivery
from relay.core.secret import Secret
from relay.explain import replay as module
from relay.explain.replay import Kind, Replay, replay, replay_json
from relay.spool.audit import Act, Actor
from relay.spool.history import Query
from relay.spool.refusals import RefusalLimits
from relay.spool.sqlite import SqliteSpool, open_spool
from tests.contracts.fan_out import finish_at
from tests.explain.test_judge import changed, refused, verified
from tests.explain.test_walk import CONFIGURATION, PUBLIC
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED

SINCE = RECEIVED - timedelta(days=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    return load(path, {"PUBLIC": PUBLIC})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(RECEIVED + timedelta(hours=1))


@pytest.fixture
async def spool(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteSpool]:
    spool = await open_spool(tmp_path / "relay.db", clock)
    yield spool
    await spool.close()


async def judged(settings: Settings, spool: SqliteSpool, clock: ManualClock) -> Replay:
    return await replay(settings, spool, since=SINCE, clock=clock)


async def test_the_configuration_in_force_changes_nothing(
    settings: Settings, spool: SqliteSpool, clock: ManualClock
) -> None:
    for number, name in enumerate(("midtrans", "snap", "shop")):
        await spool.put(verified(settings, name, f"evt_{number}"))
    counted: list[None] = []
    found = await replay(
        settings, spool, since=SINCE, clock=clock, judged=lambda: counted.append(None)
    )
    assert (found.unchanged, found.changes, len(counted)) == (3, [], 3)
    later = await replay(settings, spool, since=RECEIVED + timedelta(seconds=1), clock=clock)
    assert later.judged == 0


async def test_every_verdict_that_changes_is_listed_with_why(
    settings: Settings, spool: SqliteSpool, clock: ManualClock
) -> None:
    await spool.put(verified(settings, "midtrans", "evt_1"))
    await spool.put(verified(settings, "snap", "evt_2"))
    kept = replace(refused(settings, "shop"), detail="not by midtrans-canary")
    await spool.refusals.keep([kept], RefusalLimits())
    after = changed(settings, "midtrans", secrets=(Secret("another"),))
    after = changed(after, "snap", upstream="ledger")
    found = await judged(after, spool, clock)
    assert found.kinds == {Kind.REFUSED: 1, Kind.ROUTED: 1, Kind.ADMITTED: 1}
    rows = {each.id: (each.was, each.would_be, each.why) for each in found.changes}
    assert rows == {
        "evt_1": ("taken, to billing", "refused, signature_mismatch", "fits no secret"),
        "evt_2": ("taken, to billing", "taken, to ledger", "the endpoint snap has it now"),
        "ref_1": (
            "refused, signature_mismatch: not by midtrans-canary",
            "taken, to billing",
            "nothing speaks against it any more",
        ),
    }
    # Secrets of this file stand nowhere in it.
    masked = await judged(settings, spool, clock)
    assert [each.was for each in masked.changes] == ["refused, signature_mismatch: not by ***"]


async def test_what_a_person_has_added_is_no_change_of_routes(
    settings: Settings, spool: SqliteSpool, clock: ManualClock
) -> None:
    await spool.put(verified(settings, "shop", "evt_1"))
    assert (await spool.requeue(Query(ids=("evt_1",)), to="ledger")).ids == ("evt_1",)
    added = await judged(settings, spool, clock)
    assert [each.was for each in added.changes] == ["taken, to billing, ledger"]
    touched = Order(Query(ids=("evt_1",)), to="ledger").touched(1, ["evt_1"])
    await spool.audit.add(Act(RECEIVED, Actor.CLI, "root", "requeue", touched))
    assert (await judged(settings, spool, clock)).unchanged == 1


async def test_an_upstream_that_is_sent_an_event_again_has_had_it_by_its_route(
    settings: Settings, spool: SqliteSpool, clock: ManualClock
) -> None:
    both = changed(settings, "shop", upstream=None, upstreams=("billing", "ledger"))
    await spool.put(verified(both, "shop", "evt_1"))
    for upstream in ("billing", "ledger"):
        await finish_at(spool, upstream)
    await clock.advance(3600)
    assert (await spool.requeue(Query(ids=("evt_1",)), to="ledger")).ids == ("evt_1",)
    touched = Order(Query(ids=("evt_1",)), to="ledger").touched(1, ["evt_1"])
    await spool.audit.add(Act(clock.now(), Actor.CLI, "root", "requeue", touched))
    found = await judged(both, spool, clock)
    assert (found.unchanged, found.changes) == (1, [])


async def test_all_upstreams_of_an_event_are_compared(
    settings: Settings, spool: SqliteSpool, clock: ManualClock
) -> None:
    to: dict[str, tuple[str, ...]] = {
        "evt_1": ("billing", "ledger"),
        "evt_2": ("ledger", "billing"),
        "evt_3": ("billing",),
        "evt_4": (),
    }
    made = verified(settings, "shop", "")
    for event_id, upstreams in to.items():
        again = replace(made.verification, key=event_id)
        event = replace(made, event_id=event_id, upstreams=upstreams, verification=again)
        await spool.put(event)
    # A person has sent it to another one besides, which no route did.
    assert (await spool.requeue(Query(ids=("evt_3",)), to="ledger")).ids == ("evt_3",)
    order = Order(Query(ids=("evt_3",)), to="ledger")
    touched = order.touched(1, ["evt_3"])
    await spool.audit.add(Act(RECEIVED, Actor.CLI, "root", "requeue", touched))
    both = changed(settings, "shop", upstream=None, upstreams=("billing", "ledger"))
    found = await judged(both, spool, clock)
    assert {each.id: (each.kind, each.was, each.would_be) for each in found.changes} == {
        "evt_3": (Kind.ROUTED, "taken, to billing", "taken, to billing, ledger"),
        "evt_4": (
            Kind.ROUTED,
            "taken, and delivered nowhere",
            "taken, to billing, ledger",
        ),
    }
    assert found.unchanged == 2

    def route(value: str) -> Route:
        when = {"header": "X-Id", "is": value}
        return Route.model_validate({"when": when, "upstreams": ()})

    value = next(value for name, value in made.headers if name == "X-Id")
    found = await judged(
        changed(settings, "shop", routes=(route("none"), route(value))), spool, clock
    )
    assert {each.id: (each.would_be, each.why) for each in found.changes} == dict.fromkeys(
        ("evt_1", "evt_2", "evt_3"), ("taken, and delivered nowhere", "routes.1 holds")
    )
    assert found.unchanged == 1


async def test_what_is_redacted_stands_in_no_cause(
    settings: Settings, spool: SqliteSpool, clock: ManualClock
) -> None:
    kept = refused(settings, "shop")
    said = replace(kept, body=b'{"card": "4111-1111"}', detail="card 4111-1111 is odd")
    shown = module._Shown(changed(settings, "shop", redact=("/card",)))
    assert shown.text(said.detail, "shop", said.body) == "card *** is odd"
    assert shown.text(said.detail, "midtrans", said.body) == said.detail


async def test_what_is_not_judged_is_counted_by_why(
    settings: Settings, spool: SqliteSpool, clock: ManualClock
) -> None:
    await spool.put(verified(settings, "tokens", "evt_1"))
    passed = ProxiedDelivery(verified(settings, "midtrans", "evt_2"), Delivered(200), RECEIVED)
    await spool.record_proxied([spool.proxied_row(passed)])
    await spool.put(verified(settings, "snap", "evt_3"))
    claimed = await spool.claim("billing", 2, timedelta(minutes=1), ordered=False)
    await spool.settle(claimed.leases[1], Done(), Delivered(200))
    await spool.prune(RECEIVED + timedelta(days=1), RECEIVED - timedelta(days=1), 100)
    found = await judged(settings, spool, clock)
    assert found.unjudged == {
        "its token is not kept": 1,
        "it was passed on, and not stored": 1,
        "its body is not kept": 1,
    }
    assert found.judged == 0


async def test_a_released_refusal_is_judged_once_as_its_event(
    settings: Settings, spool: SqliteSpool, clock: ManualClock
) -> None:
    await spool.refusals.keep([refused(settings, "shop")], RefusalLimits())
    await spool.put(verified(settings, "shop", "evt_1"))
    await spool.refusals.mark_released("ref_1", "evt_1", RECEIVED)
    found = await judged(settings, spool, clock)
    assert (found.unchanged, found.changes) == (1, [])


async def test_hosts_of_refusals_serve_signatures_over_them(
    settings: Settings, spool: SqliteSpool, clock: ManualClock
) -> None:
    await spool.put(verified(settings, "vipps", "evt_1"))
    assert (await judged(settings, spool, clock)).judged == 0
    await spool.refusals.keep([refused(settings, "shop")], RefusalLimits())
    found = await judged(settings, spool, clock)
    assert (found.unchanged, found.unjudged.total()) == (1, 0)


async def test_the_changes_that_are_listed_are_bounded(
    settings: Settings,
    spool: SqliteSpool,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_LISTED", 2)
    monkeypatch.setattr(module, "_PAGE", 2)
    for number in range(5):
        await spool.put(verified(settings, "snap", f"evt_{number}"))
    found = await judged(changed(settings, "snap", upstream="ledger"), spool, clock)
    assert (len(found.changes), found.kinds[Kind.ROUTED]) == (2, 5)
    told = replay_json(found)
    assert told["summary"] == {"refused": 0, "admitted": 0, "routed": 5, "held": 0}
    assert told["judged"] == 5
