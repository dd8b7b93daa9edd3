"""Addresses on no list are shown, those whose signature fitted first."""

from datetime import UTC, datetime

from relay.spool.strangers import Stranger, StrangerLimits
from tests.admin.pages.browsing import page, sign_in
from tests.admin.test_server import Bench, bench
from tests.ingest.endpoints import endpoint

__all__ = ["bench"]

_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def stranger(address: str, *, network: str = "", fits: bool = False) -> Stranger:
    return Stranger("midtrans", network or address, address, "/<b>", 12345, _AT, _AT, fits)


async def test_they_are_shown_with_what_they_asked_for(bench: Bench) -> None:
    await sign_in(bench)
    bench.endpoints.append(endpoint())
    assert "Nobody was refused because no list" in await page(bench, "/refusals/strangers")
    seen = [
        stranger("203.0.113.1"),
        stranger("2001:db8::1", network="2001:db8::/64"),
        stranger("203.0.113.2", fits=True),
    ]
    await bench.spool.strangers.add(seen, StrangerLimits())
    text = await page(bench, "/refusals/strangers?endpoint=midtrans")
    assert text.index("203.0.113.2") < text.index("203.0.113.1")
    assert "2001:db8::/64" in text
    assert "12,345" in text
    assert "/&lt;b&gt;" in text
    assert 'href="/allowlist?address=203.0.113.1"' in text
    assert "/refusals?reason=source_not_allowed&amp;endpoint=midtrans" in text
    assert "No strangers here" in await page(bench, "/refusals/strangers?endpoint=none")
