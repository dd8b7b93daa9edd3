"""The demo shows the whole main job, and fails when it does not go as it should."""

import subprocess
import sys

import pytest

from relay.cli.demo import DemoEndpoint, Row, play
from relay.cli.demo.services import Sink, shared
from relay.providers.builtin import provider_named


def test_the_demo_goes_well_in_time() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "relay", "demo", "--once"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = [line.split("\t") for line in ran.stdout.splitlines()[1:]]
    assert {row[0] for row in rows} == {
        *("midtrans", "midtrans-snap", "vipps", "vipps-callback"),
        # Described in the configuration.
        "standard-webhooks",
    }
    assert {row[5] for row in rows} == {"ok"}
    by_kind = {(row[0], row[1]): row[3:5] for row in rows}
    for provider in {row[0] for row in rows}:
        assert by_kind[provider, "genuine"] == ["200", "once"]
        assert by_kind[provider, "the same again"] == ["200", "once"]
        assert by_kind[provider, "forged signature"] == ["401", "no"]
        assert by_kind[provider, "unknown address"] == ["403", "no"]
        assert by_kind[provider, "unsigned"] == ["401", "no"]


# ---- the scenario ---------------------------------------------------------------------------
# The demo's verdict is about what happened, not about what it hoped for.


@pytest.mark.parametrize("provider", ["midtrans", "vipps"])
async def test_a_relay_that_lets_everything_through_fails_the_demo(provider: str) -> None:
    async with Sink() as sink:
        signer = provider_named(provider)
        target = DemoEndpoint(provider, signer, sink.url, "192.0.2.1", shared())
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
