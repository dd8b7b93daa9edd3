"""Requeueing asks first, needs the form of a session that may act, and is recorded."""

from datetime import timedelta

from relay.core.event import Delivered, Done, Status, Unreachable
from relay.core.request import VerifiedDelivery
from relay.spool.audit import Actor
from relay.spool.history import Query
from tests.admin.pages.browsing import HTML, form_token, page, sign_in
from tests.admin.pages.test_event import fail
from tests.admin.test_server import BEARER, READ_TOKEN, Bench, bench
from tests.harness.deliveries import verified

__all__ = ["bench"]


async def status_of(bench: Bench, event_id: str) -> Status:
    """Return where an event is in its life."""
    [record] = (await bench.spool.page(Query(ids=(event_id,)))).records
    return record.status


async def test_an_event_is_requeued_after_a_question(bench: Bench) -> None:
    event = verified()
    await fail(bench, event, Unreachable("refused"))
    await sign_in(bench)
    path = f"/events/{event.event_id}/requeue"
    question = await page(bench, path)
    assert f"Requeue {event.event_id}?" in question
    assert await status_of(bench, event.event_id) is Status.DEAD
    data = {"form_token": form_token(question)}
    async with bench.client.post(path, data=data, headers=HTML, allow_redirects=False) as answer:
        assert answer.status == 303
        location = answer.headers["Location"]
    assert await status_of(bench, event.event_id) is Status.PENDING
    assert "It is requeued" in await page(bench, location)
    act = (await bench.spool.audit.newest(1))[0]
    assert (act.name, act.actor, act.origin) == ("requeue", Actor.SESSION, "127.0.0.1")
    assert act.detail == {"events": [event.event_id]}
    # It is under way: there is nothing to requeue, and nothing to ask.
    assert "was not requeued" in await page(bench, path, 409)
    status, text = await bench.post(path, data=data, headers=HTML)
    assert (status, "was not requeued" in text) == (409, True)


async def test_without_the_token_of_the_session_nothing_happens(bench: Bench) -> None:
    event = verified()
    await fail(bench, event, Unreachable("refused"))
    path = f"/events/{event.event_id}/requeue"
    right = await sign_in(bench)
    other = await sign_in(bench)
    assert right != other
    wrong: tuple[dict[str, str], ...] = ({}, {"form_token": ""}, {"form_token": right})
    for data in wrong:
        status, text = await bench.post(path, data=data, headers=HTML)
        assert (status, "Nothing was changed" in text) == (403, True)
    assert (await bench.post(path, headers={**HTML, "X-Form-Token": "x"}))[0] == 403
    assert await status_of(bench, event.event_id) is Status.DEAD
    assert [act.name for act in await bench.spool.audit.newest(9)] == ["login", "login"]
    assert (await bench.post(path, headers={**HTML, "X-Form-Token": other}))[0] == 303


async def test_a_session_that_may_read_does_not_act(bench: Bench) -> None:
    event = verified()
    await fail(bench, event, Unreachable("refused"))
    path = f"/events/{event.event_id}/requeue"
    token = await sign_in(bench, READ_TOKEN)
    assert "You may read, and not act" in await page(bench, path, 403)
    status, text = await bench.post(path, data={"form_token": token}, headers=HTML)
    assert (status, "You may read, and not act" in text) == (403, True)
    # Without a session there is no form either, whatever the token.
    bench.client.cookie_jar.clear()
    assert (await bench.post(path, headers={**HTML, **BEARER}))[0] == 303
    assert await status_of(bench, event.event_id) is Status.DEAD


async def test_an_upstream_that_is_not_configured_is_named(bench: Bench) -> None:
    event = verified(upstream="ledger")
    await fail(bench, event, Unreachable("refused"))
    token = await sign_in(bench)
    path = f"/events/{event.event_id}/requeue"
    status, text = await bench.post(path, data={"form_token": token}, headers=HTML)
    assert (status, "no upstream &#34;ledger&#34; is configured" in text.lower()) == (409, True)
    await page(bench, "/events/none/requeue", 404)


# ---- to another upstream, and out of order --------------------------------------------------


async def test_an_event_goes_to_another_upstream_besides(bench: Bench) -> None:
    event = verified(upstream="ledger")
    await fail(bench, event, Unreachable("refused"))
    await sign_in(bench)
    path = f"/events/{event.event_id}/requeue"
    question = await page(bench, path)
    assert '<option value="billing">billing, besides</option>' in question
    # Nobody serves the one that it came for.
    assert "where it was going" not in question
    data = {"form_token": form_token(question), "to": "billing"}
    assert (await bench.post(path, data=data, headers=HTML))[0] == 303
    found = (await bench.spool.page(Query(ids=(event.event_id,)))).records[0].destinations
    assert [(each.upstream, each.status) for each in found] == [
        ("ledger", Status.DEAD),
        ("billing", Status.PENDING),
    ]
    assert (await bench.spool.audit.newest(1))[0].detail == {
        "events": [event.event_id],
        "to": "billing",
    }
    status, text = await bench.post(path, data=data | {"to": "none"}, headers=HTML)
    assert (status, "none" in text) == (400, True)


async def test_one_destination_is_requeued_alone(bench: Bench) -> None:
    event = await of_two(bench)
    event_id = event.event_id
    await sign_in(bench)
    shown = await page(bench, f"/events/{event_id}")
    path = f"/events/{event_id}/requeue"
    for upstream in ("billing", "ledger"):
        assert f'href="{path}?upstream={upstream}"' in shown
    assert "Requeue all…" in shown
    every = await page(bench, path)
    assert "At billing it is dead now, after one attempt." in every
    again = "At ledger it is delivered now, after one attempt. That upstream gets it a second time."
    assert again in every
    question = await page(bench, f"{path}?upstream=billing")
    assert f"Requeue {event_id} to billing?" in question
    assert "ledger" not in question
    data = {"form_token": form_token(question), "upstream": "billing"}
    assert '<input type="hidden" name="upstream" value="billing">' in question
    assert (await bench.post(path, data=data, headers=HTML))[0] == 303
    [record] = (await bench.spool.page(Query(ids=(event_id,)))).records
    assert {each.upstream: each.status for each in record.destinations} == {
        "billing": Status.PENDING,
        "ledger": Status.DELIVERED,
    }
    told = {"events": [event_id], "upstream": "billing"}
    assert (await bench.spool.audit.newest(1))[0].detail == told
    # It is on its way there, and the other one can still be requeued, alone or as all that ended.
    shown = await page(bench, f"/events/{event_id}")
    assert f'href="{path}?upstream=billing"' not in shown
    assert f'href="{path}"' in shown
    assert "not dead, held or delivered at billing" in await page(
        bench, f"{path}?upstream=billing", 409
    )
    assert "At billing" not in await page(bench, path)


async def test_the_api_takes_one_destination(bench: Bench) -> None:
    event = await of_two(bench)
    path = f"/api/v1/events/{event.event_id}/requeue"
    assert (await bench.post(f"{path}?upstream=crm", headers=BEARER))[0] == 409
    assert (await bench.post(f"{path}?upstream=ledger&to=billing", headers=BEARER))[0] == 400
    assert (await bench.post(f"{path}?upstream=ledger", headers=BEARER))[0] == 200
    [record] = (await bench.spool.page(Query(ids=(event.event_id,)))).records
    assert [each.status for each in record.destinations] == [Status.DEAD, Status.PENDING]
    told = {"events": [event.event_id], "upstream": "ledger"}
    assert (await bench.spool.audit.newest(1))[0].detail == told


async def test_what_goes_nowhere_is_sent_where_a_person_says(bench: Bench) -> None:
    event = verified(upstreams=())
    await bench.spool.put(event)
    await sign_in(bench)
    assert '<span class="muted">nowhere</span>' in await page(bench, "/events")
    shown = await page(bench, f"/events/{event.event_id}")
    assert "No route leads it to an upstream. It is stored, and delivered nowhere." in shown
    path = f"/events/{event.event_id}/requeue"
    assert f'href="{path}"' in shown
    question = await page(bench, path)
    assert "goes nowhere by its route. It is sent where you say." in question
    assert "where it was going" not in question
    data = {"form_token": form_token(question)}
    status, text = await bench.post(path, data=data, headers=HTML)
    assert (status, "can be requeued" in text) == (409, True)
    assert (await bench.post(path, data=data | {"to": "billing"}, headers=HTML))[0] == 303
    [record] = (await bench.spool.page(Query(ids=(event.event_id,)))).records
    told = [(each.upstream, each.status) for each in record.destinations]
    assert told == [("billing", Status.PENDING)]


async def of_two(bench: Bench) -> VerifiedDelivery:
    """Store an event that is dead at one upstream and delivered at another one."""
    bench.served = ("billing", "ledger")
    event = verified()
    await fail(bench, event, Unreachable("refused"))
    await bench.spool.requeue(Query(ids=(event.event_id,)), to="ledger")
    claimed = await bench.spool.claim("ledger", 1, timedelta(minutes=1), ordered=False)
    await bench.spool.settle(claimed.leases[0], Done(), Delivered(200))
    return event


async def test_one_that_a_later_event_has_overtaken_is_asked_about(bench: Bench) -> None:
    event = verified(key="1", subject="tx")
    await fail(bench, event, Unreachable("refused"))
    await sign_in(bench)
    path = f"/events/{event.event_id}/requeue"
    assert "Relay-Out-Of-Order" not in await page(bench, path)
    await succeed(bench, verified(key="2", subject="tx"))
    assert "Relay-Out-Of-Order" in await page(bench, path)


async def succeed(bench: Bench, event: VerifiedDelivery) -> None:
    await bench.spool.put(event)
    minute = timedelta(minutes=1)
    claimed = await bench.spool.claim(event.upstreams[0], 1, minute, ordered=False)
    await bench.spool.settle(claimed.leases[0], Done(), Delivered(200))


# ---- what the filters find ------------------------------------------------------------------


async def test_many_are_requeued_after_their_number_was_shown(bench: Bench) -> None:
    for number in range(3):
        event = verified(key=f"{number}", body=b"%d" % number)
        await fail(bench, event, Unreachable("refused"))
    await succeed(bench, verified(key="delivered"))
    await sign_in(bench)
    path = "/events/requeue"
    assert f'href="{path}?status=dead"' in await page(bench, "/events?status=dead")
    assert f'href="{path}' not in await page(bench, "/events")
    question = await page(bench, f"{path}?status=dead")
    assert "Requeue 3 events?" in question
    assert "second time" not in question
    assert "second time" in await page(bench, f"{path}?endpoint=midtrans")
    token = form_token(question)
    # One died since the question: it was not asked about.
    await fail(bench, verified(key="4", body=b"4"), Unreachable("refused"))
    data = {"form_token": token, "status": "dead", "number": "3", "to": "", "rate": "60/m"}
    async with bench.client.post(path, data=data, headers=HTML, allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/events?requeued=3"
    assert "3 events requeued" in await page(bench, "/events?requeued=3")
    left = (await bench.spool.page(Query(status=Status.DEAD))).records
    assert [record.key for record in left] == ["4"]
    act = (await bench.spool.audit.newest(1))[0]
    assert (act.actor, len(act.detail["events"])) == (Actor.SESSION, 3)  # type: ignore[arg-type]
    assert (act.detail["filter"], act.detail["rate"]) == ({"status": "dead"}, "60/m")


async def test_many_are_not_requeued_by_mistake(bench: Bench) -> None:
    await fail(bench, verified(), Unreachable("refused"))
    token = await sign_in(bench)
    path = "/events/requeue"
    right = {"form_token": token, "status": "dead", "number": "1"}
    for changed, status in (
        ({"form_token": ""}, 403),
        ({"status": ""}, 400),
        ({"status": "lost"}, 400),
        ({"number": ""}, 400),
        ({"number": "-1"}, 400),
        ({"rate": "fast"}, 400),
        ({"to": "none"}, 400),
    ):
        assert (await bench.post(path, data=right | changed, headers=HTML))[0] == status
    await page(bench, path, 400)
    await page(bench, f"{path}?status=held", 409)
    assert len((await bench.spool.page(Query(status=Status.DEAD))).records) == 1
    await sign_in(bench, READ_TOKEN)
    await page(bench, f"{path}?status=dead", 403)
    assert f'href="{path}' not in await page(bench, "/events?status=dead")


async def test_what_was_chosen_before_the_session_ended_is_chosen_again(bench: Bench) -> None:
    await fail(bench, verified(), Unreachable("refused"))
    await sign_in(bench)
    question = await page(bench, "/events/requeue?status=dead&rate=20%2Fs&to=billing")
    assert 'name="rate" value="20/s"' in question
    assert '<option value="billing" selected>' in question
