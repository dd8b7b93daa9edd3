"""Kept refusals are shown with the reason, masked and escaped, and can be released."""

from dataclasses import replace

import pytest

from relay.core.clock import SystemClock
from relay.core.errors import Reason
from relay.core.request import Headers
from relay.providers import SampleOrder
from relay.spool.audit import Actor
from relay.spool.refusals import Refused
from tests.admin.pages.browsing import page, sign_in
from tests.admin.test_server import READ_TOKEN, SHARED, Bench, bench
from tests.contracts.refusals import BOUNDS, refused
from tests.ingest.endpoints import LISTED, MIDTRANS, SECRET, endpoint

__all__ = ["bench"]


def genuine(number: int = 7, **changes: object) -> Refused:
    """Return a refusal of what the endpoint takes now."""
    order = SampleOrder("https://relay.test/", SECRET, SystemClock().now(), {})
    kept = refused(number, client=LISTED, body=MIDTRANS.sample(order).body)
    headers = Headers((("Content-Type", "application/json"),))
    head = replace(kept.head, target="/midtrans/notification", headers=headers)
    return replace(kept, head=head, **changes)  # type: ignore[arg-type]


async def test_they_are_listed_by_filters_that_stay(bench: Bench) -> None:
    await sign_in(bench)
    assert "Nothing is refused" in await page(bench, "/refusals")
    other = refused(2, endpoint="other", reason=Reason.BODY_MALFORMED)
    await bench.spool.refusals.keep([refused(1), other], BOUNDS)
    text = await page(bench, "/refusals")
    assert text.index("ref_002") < text.index("ref_001")
    text = await page(bench, "/refusals?endpoint=other&reason=body_malformed")
    assert "ref_002" in text
    assert "ref_001" not in text
    assert '<option value="other" selected>' in text
    assert "No refusals match" in await page(bench, "/refusals?endpoint=none")
    assert "No reason" in await page(bench, "/refusals?reason=none", 400)
    assert "neither yes nor no" in await page(bench, "/refusals?released=maybe", 400)


async def test_older_ones_are_behind_a_link(bench: Bench) -> None:
    await sign_in(bench)
    await bench.spool.refusals.keep([refused(each) for each in range(51)], BOUNDS)
    first = await page(bench, "/refusals")
    assert "ref_000" not in first
    link = first.partition('rel="next" href="/refusals?')[2].partition('"')[0]
    assert "ref_000" in await page(bench, "/refusals?" + link.replace("&amp;", "&"))


async def test_one_is_shown_with_what_would_make_it_fit(bench: Bench) -> None:
    await sign_in(bench)
    body = b"<script>" + SHARED.reveal() + "\u202e".encode()
    await bench.spool.refusals.keep([refused(1, body=body)], BOUNDS)
    text = await page(bench, "/refusals/ref_001")
    assert "&lt;script&gt;***\\u202e" in text
    assert "fits no secret" in text
    assert "another &lt;secret&gt; fits" in text
    assert "There is no refusal ref_9" in await page(bench, "/refusals/ref_9", 404)


async def test_it_is_shown_although_it_cannot_be_explained(bench: Bench) -> None:
    await sign_in(bench)
    await bench.spool.refusals.keep([replace(refused(1), detail="unreadable")], BOUNDS)
    assert "dns.json cannot be read" in await page(bench, "/refusals/ref_001")


async def test_one_is_released_and_becomes_an_event(bench: Bench) -> None:
    form_token = await sign_in(bench)
    bench.endpoints.append(endpoint())
    await bench.spool.refusals.keep([genuine()], BOUNDS)
    question = await page(bench, "/refusals/ref_007/release")
    assert 'action="/refusals/ref_007/release"' in question
    assert "is on no list" not in question
    fields = {"form_token": form_token}
    async with bench.client.post(
        "/refusals/ref_007/release", data=fields, allow_redirects=False
    ) as answer:
        assert answer.status == 303
        event = answer.headers["Location"]
    assert "settlement" in await page(bench, event)
    assert "ref_007" in await page(bench, "/refusals?released=yes")
    assert "ref_007" not in await page(bench, "/refusals?released=no")
    text = await page(bench, "/refusals/ref_007")
    assert f'href="{event}"' in text
    assert "Release…" not in text
    (act, *_) = await bench.spool.audit.newest(1)
    assert (act.name, act.actor) == ("release", Actor.SESSION)
    assert act.detail == {"refusal": "ref_007", "result": "released"}
    # A second click, or a second person, gets to the same event.
    status, _ = await bench.post("/refusals/ref_007/release", data=fields)
    assert status == 303


async def test_who_releases_from_an_unknown_address_is_shown_it(bench: Bench) -> None:
    await sign_in(bench)
    kept = genuine(reason=Reason.SOURCE_NOT_ALLOWED, signature_fits=True, secret=0)
    await bench.spool.refusals.keep([kept], BOUNDS)
    assert f"{LISTED} is on no list of midtrans" in await page(bench, "/refusals/ref_007/release")
    assert "signature fits" in await page(bench, "/refusals")


async def test_what_is_refused_again_says_why(bench: Bench) -> None:
    form_token = await sign_in(bench)
    bench.endpoints.append(endpoint())
    await bench.spool.refusals.keep([genuine(endpoint="another")], BOUNDS)
    await bench.spool.refusals.keep([refused(1)], BOUNDS)
    status, text = await bench.post("/refusals/ref_001/release", data={"form_token": form_token})
    assert status == 409
    assert "It is refused again: unknown_endpoint" in text
    status, text = await bench.post("/refusals/ref_9/release", data={"form_token": form_token})
    assert status == 404


@pytest.mark.parametrize(
    ("token", "form_token", "status"),
    [
        (None, "", 303),
        ("the-token", "", 403),
        ("the-token", "0" * 64, 403),
        (READ_TOKEN, None, 403),
    ],
    ids=["no session", "no token of a form", "another's", "may only read"],
)
async def test_nothing_is_released_without_being_asked_for(
    token: str | None, form_token: str | None, status: int, bench: Bench
) -> None:
    bench.endpoints.append(endpoint())
    await bench.spool.refusals.keep([genuine()], BOUNDS)
    own = "" if token is None else await sign_in(bench, token)
    fields = {"form_token": own if form_token is None else form_token}
    found, _ = await bench.post("/refusals/ref_007/release", data=fields)
    assert found == status
    kept = await bench.spool.refusals.get("ref_007")
    assert kept is not None
    assert kept.released_as is None
