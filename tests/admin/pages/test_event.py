"""One event is shown whole."""

from contextlib import closing
from pathlib import Path

import apsw

from tests.admin.pages.browsing import page, sign_in
from tests.admin.test_server import Bench, bench
from tests.harness.deliveries import verified

__all__ = ["bench"]


async def test_one_event_is_shown_with_its_body(bench: Bench) -> None:
    await sign_in(bench)
    event = verified(body=b'{"a": "b"}')
    await bench.spool.put(event)
    text = await page(bench, f"/events/{event.event_id}")
    assert "{&#34;a&#34;: &#34;b&#34;}" in text


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
    with closing(apsw.Connection(str(tmp_path / "relay.db"))) as file:
        file.execute("UPDATE events SET body = NULL")
        file.execute("UPDATE settled SET outcome = 'rejected 500'")
    text = await page(bench, f"/events/{event.event_id}")
    assert "has been removed" in text
    assert "next copy replaces it" not in text
