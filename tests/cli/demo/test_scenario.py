"""The demo's verdict is about what happened, not about what it hoped for."""

import pytest

from relay.cli.demo import Row, Target, play
from relay.cli.demo.services import Sink, shared
from relay.providers.builtin import provider_named


@pytest.mark.parametrize("provider", ["midtrans", "vipps"])
async def test_a_relay_that_lets_everything_through_fails_the_demo(provider: str) -> None:
    async with Sink() as sink:
        signer = provider_named(provider)
        target = Target(provider, signer, sink.url, "192.0.2.1", shared())
        rows = await play([target], sink)
    verdicts = {row.sent: row.went_well for row in rows}
    assert verdicts == {
        "genuine": False,  # it arrived twice
        "the same again": False,
        "forged signature": False,
        "unknown address": False,
        "unsigned": False,
    }


def test_a_row_went_well_when_answer_and_arrival_are_as_expected() -> None:
    def row(status: int, arrived: int) -> Row:
        return Row("midtrans", "genuine", "192.0.2.1", status, arrived, expected=(200, 1))

    assert row(200, 1).went_well
    assert not row(200, 0).went_well
    assert not row(200, 2).went_well
    assert not row(502, 1).went_well
