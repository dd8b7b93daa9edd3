"""The list shows history a page at a time; its filters stand in the address."""

from dataclasses import replace

from tests.admin.pages.browsing import page, sign_in
from tests.admin.test_server import Bench, bench
from tests.contracts.refusals import BOUNDS, refused
from tests.harness.deliveries import verified

__all__ = ["bench"]


async def test_older_events_are_behind_a_link(bench: Bench) -> None:
    await sign_in(bench)
    for number in range(51):
        await bench.spool.put(verified(key=f"key-{number}", body=b"%d" % number))
    first = await page(bench, "/events")
    assert "key-50<" in first
    assert "key-0<" not in first
    link = first.partition('rel="next" href="/events?')[2].partition('"')[0]
    assert "key-0<" in await page(bench, "/events?" + link.replace("&amp;", "&"))


async def test_filters_stay_in_the_form(bench: Bench) -> None:
    await sign_in(bench)
    await bench.spool.put(verified(key="wanted"))
    await bench.spool.put(verified(key="other"))
    text = await page(bench, "/events?status=pending&key=wanted")
    assert "<bdi>wanted</bdi>" in text
    assert "<bdi>other</bdi>" not in text
    assert 'value="pending" selected' in text
    assert "No events match" in await page(bench, "/events?status=dead")


async def test_an_order_is_found_by_its_beginning_also_among_what_was_refused(bench: Bench) -> None:
    await sign_in(bench)
    await bench.spool.put(verified(key="1", references=(("order_id", "ORDER-77"),)))
    await bench.spool.put(verified(key="2", body=b"2", references=(("order_id", "other-78"),)))
    text = await page(bench, "/events?find=ORDER-7")
    assert "<bdi>ORDER-77</bdi>" in text
    assert "other-78" not in text
    assert 'value="ORDER-7"' in text
    assert "/refusals?find" not in text
    late = replace(refused(1), references=(("order_id", "ORDER-79"),))
    await bench.spool.refusals.keep([late], BOUNDS)
    assert "One refusal has it, too." in await page(bench, "/events?find=ORDER-7")
    assert "ref_001" in await page(bench, "/refusals?find=ORDER-7")
    assert "ref_001" not in await page(bench, "/refusals?find=ORDER-8")
    assert "No events match" in await page(bench, "/events?find=ORDER-79")
