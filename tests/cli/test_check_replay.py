"""`relay check --replay`: 1 when a stored delivery would be taken otherwise, 0 when none would."""

from pathlib import Path

import orjson
import pytest

from relay.cli.check_replay import print_replay
from tests.cli.conftest import CONFIGURATION, Invoke
from tests.cli.test_refusals import genuine, keep


def replayed(relay: Invoke, config: Path, *words: object) -> tuple[int, str]:
    result = relay("check", "-c", config, "--replay", "3650d", *words)
    return result.exit_code, result.stdout


def test_the_file_in_force_changes_nothing(relay: Invoke, config: Path) -> None:
    keep(config, genuine(1, key="another"))
    code, text = replayed(relay, config)
    assert code == 0
    assert "unchanged\t1\t\n" in text
    assert "never judged\t\tlisten, trusted_proxies, forwarded_header" in text


def test_what_would_be_taken_otherwise_is_listed(relay: Invoke, config: Path) -> None:
    keep(config, genuine(1, key="another"), genuine(2))
    code, text = replayed(relay, config)
    assert code == 1
    row = next(line for line in text.splitlines() if line.startswith("ref_002"))
    assert row.split("\t")[1:3] == ["admitted", "midtrans"]
    code, text = replayed(relay, config, "--format", "json")
    found = orjson.loads(text)
    assert (code, found["valid"]) == (1, True)
    assert found["replay"]["summary"] == {"refused": 0, "admitted": 1, "routed": 0, "held": 0}
    assert [each["id"] for each in found["replay"]["changes"]] == ["ref_002"]


def test_the_spool_of_the_new_file_is_read(relay: Invoke, config: Path, tmp_path: Path) -> None:
    keep(config, genuine(1))
    after = tmp_path / "after.yaml"
    moved = CONFIGURATION.replace("path: /midtrans/notification", "path: /elsewhere")
    after.write_text(moved)
    code, text = replayed(relay, after)
    assert (code, "unchanged\t1\t\n" in text) == (0, True)


def test_without_a_spool_it_says_so(relay: Invoke, config: Path) -> None:
    result = relay("check", "-c", config, "--replay", "1d")
    assert result.exit_code == 1
    assert "spool" in str(result.exception)


@pytest.mark.parametrize("given", ["7", "-1d", "x", "0s"])
def test_a_time_that_is_none_says_what_to_write(relay: Invoke, config: Path, given: str) -> None:
    result = relay("check", "-c", config, "--replay", given)
    assert result.exit_code == 2
    assert "--replay:" in result.stderr


def test_more_changes_than_are_listed_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    change = {"id": "evt_1", "change": "routed", "endpoint": "a"}
    print_replay(
        {
            "since": "t",
            "unchanged": 0,
            "changes": [change],
            "summary": {"routed": 7},
            "not_judged": [{"why": "its body is not kept", "deliveries": 3}],
            "never_judged": ["listen"],
        }
    )
    told = capsys.readouterr()
    assert "6 more would change; the last 1 are listed" in told.err
    assert "not judged\t3\tits body is not kept" in told.out
