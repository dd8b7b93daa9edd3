"""One event is shown whole: what arrived, what became of it, each attempt."""

import asyncio
from contextlib import closing
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import apsw
import pytest

from relay.core.event import Dead, Rejected, Unreachable
from relay.core.request import Headers, VerifiedDelivery
from relay.core.visible_text import visible
from relay.spool import Settlement
from tests.admin.pages.browsing import HTML, page, sign_in
from tests.admin.test_server import READ_TOKEN, Bench, bench
from tests.harness.deliveries import verified

__all__ = ["bench"]


async def fail(
    bench: Bench, event: VerifiedDelivery, outcome: Rejected | Unreachable, answer: bytes = b""
) -> None:
    """Let the only attempt of an event come to nothing."""
    await bench.spool.put(event)
    minute = timedelta(minutes=1)
    claimed = await bench.spool.claim(event.upstreams[0], 1, minute, ordered=False)
    done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    settlement = Settlement(claimed.leases[0], Dead(), outcome, took=1500, answer=answer)
    bench.spool.settle_all([settlement], done.set_result)
    assert await done == [True]


async def test_what_arrived_is_shown_pretty_and_as_it_came(bench: Bench) -> None:
    await sign_in(bench)
    event = verified(body=b'{"a":1.00,"b":"<c>"}')
    await bench.spool.put(event)
    text = await page(bench, f"/events/{event.event_id}")
    assert '<pre id="pretty">{\n  &#34;a&#34;: 1.00,\n  &#34;b&#34;: &#34;&lt;c&gt;&#34;\n}' in text
    assert '<pre id="raw">{&#34;a&#34;:1.00,&#34;b&#34;:&#34;&lt;c&gt;&#34;}</pre>' in text
    assert "None yet." in text


async def test_each_attempt_is_shown_with_the_beginning_of_the_answer(bench: Bench) -> None:
    await sign_in(bench)
    event = verified()
    await fail(bench, event, Rejected(422), b"no <invoice>\n\x1b[31m")
    text = await page(bench, f"/events/{event.event_id}")
    assert '<span class="badge bad">dead</span>' in text
    assert "rejected 422" in text
    assert "1.5 ms" in text
    assert "no &lt;invoice&gt;\n\\x1b[31m" in text


async def test_of_a_large_body_the_beginning_is_shown_and_the_rest_is_a_file(bench: Bench) -> None:
    await sign_in(bench)
    event = verified(body=b"<script>" + b"x" * 10_000_000)
    await bench.spool.put(event)
    text = await page(bench, f"/events/{event.event_id}")
    assert len(text) < 200_000
    assert "The first 100.0 kB are shown" in text
    async with bench.client.get(f"/events/{event.event_id}/body", headers=HTML) as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        named = f'attachment; filename="{event.event_id}.txt"'
        assert answer.headers["Content-Disposition"] == named
        assert await answer.read() == event.delivery.body


async def test_a_token_is_in_neither(bench: Bench) -> None:
    await sign_in(bench)
    event = verified(body=b'{"token": "hidden-token"}', tokens=("/token",))
    await bench.spool.put(event)
    for path in (f"/events/{event.event_id}", f"/events/{event.event_id}/body"):
        text = await page(bench, path)
        assert "hidden-token" not in text
        assert "***" in text


async def test_what_may_be_done_is_shown_to_who_may_do_it(bench: Bench) -> None:
    event = verified()
    await fail(bench, event, Unreachable("refused"))
    path = f"/events/{event.event_id}"
    await sign_in(bench)
    assert "data-requeue" in await page(bench, path)
    await sign_in(bench, READ_TOKEN)
    assert "data-requeue" not in await page(bench, path)


async def test_a_damaged_event_is_shown_as_such_and_not_as_removed(
    bench: Bench, tmp_path: Path
) -> None:
    await sign_in(bench)
    event = verified()
    await bench.spool.put(event)
    with closing(apsw.Connection(str(tmp_path / "relay.db"))) as file:
        file.execute("UPDATE events SET body = x'00'")
    text = await page(bench, f"/events/{event.event_id}")
    assert "next copy replaces it" in text
    assert "has been removed" not in text
    await page(bench, f"/events/{event.event_id}/body", 404)
    with closing(apsw.Connection(str(tmp_path / "relay.db"))) as file:
        file.execute("UPDATE events SET body = NULL")
        file.execute("UPDATE settled SET outcome = 'rejected 500'")
    text = await page(bench, f"/events/{event.event_id}")
    assert "has been removed" in text
    assert "next copy replaces it" not in text


HOSTILE = (
    '"><script>alert(1)</script>',
    "' autofocus onfocus=alert(1) x='",
    "</pre></details><img src=x onerror=alert(1)>",
    "{{7*7}}{% raw %}",
    "javascript:alert(1)",
    "<!--</title><svg/onload=alert(1)>",
    "\u202eevol\u2066\u200b\x1b[31m\x9b\x00\ufeff",
    "&#60;b&#62;&lt;i&gt;",
    "=cmd|' /C calc'!A0",
)


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_what_strangers_wrote_stays_text_in_every_place(hostile: str, bench: Bench) -> None:
    event = verified(
        key=hostile,
        subject=hostile,
        body=hostile.encode(),
        references=((hostile, hostile),),
        headers=Headers((("X-A", hostile.replace("\x00", "")),)),
    )
    await fail(bench, event, Rejected(422), hostile.encode())
    await sign_in(bench)
    path = f"/events/{event.event_id}"
    for text in (await page(bench, path), await page(bench, "/events")):
        tags = Tags(text)
        assert not tags.foreign
        assert visible(hostile) in tags.text
        assert not set(text) & set("\u202e\u2066\u200b\x1b\x9b\x00\ufeff")
    question = await page(bench, path + "/requeue")
    assert not Tags(question).foreign
    assert visible(hostile) in Tags(question).text


class Tags(HTMLParser):
    """What a page consists of: its text, and what no template of ours has in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.foreign: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"svg", "img", "style", "i", "b"} or (tag == "script" and "src" not in given):
            self.foreign.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.foreign.append(f"{tag} {name}")
            if name in {"href", "src", "action"} and not (value or "").startswith(("/", "#main")):
                self.foreign.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data
