"""The demo shows the whole main job, and fails when it does not go as it should."""

import subprocess
import sys


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
