"""Requeueing asks first, needs the form of a session that may act, and is recorded."""

from relay.core.event import Status, Unreachable
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
