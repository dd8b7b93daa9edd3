"""What is built in can be looked up."""

from pathlib import Path

import orjson

from tests.cli.conftest import Invoke


def test_the_providers_are_listed(relay: Invoke) -> None:
    result = relay("providers", "list", "--format", "json")
    assert result.exit_code == 0
    assert {each["name"] for each in orjson.loads(result.output)} >= {"midtrans", "vipps"}


def test_no_verb_lists_them_too(relay: Invoke) -> None:
    result = relay("providers")
    assert result.exit_code == 0
    assert "midtrans" in result.output


def test_one_is_shown_with_addresses_their_origin_and_review(relay: Invoke) -> None:
    output = relay("providers", "show", "midtrans").output
    assert "103.208.23.0/24" in output
    assert "2022-03-15" in output
    assert "reviewed" in output


def test_json_holds_the_same(relay: Invoke) -> None:
    shown = orjson.loads(relay("providers", "show", "vipps", "--format", "json").output)
    assert "callback-dr-4.vipps.no" in shown["environments"]["production"]["hosts"]
    assert shown["window"] == {"past_seconds": 604800.0, "future_seconds": 300.0}


def test_a_sender_is_shown_from_its_file(relay: Invoke) -> None:
    file = Path(__file__).parents[2] / "config/senders/github.yaml"
    output = relay("providers", "show", file).output
    assert "HMAC-SHA256 in hex, in X-Hub-Signature-256" in output
    assert f"source\t{file}\n" in output
    assert "reviewed" not in output
    shown = orjson.loads(relay("providers", "show", file, "--format", "json").output)
    assert (shown["document"], shown["reviewed"]) == (str(file), None)


def test_a_name_that_is_not_there_is_answered_with_those_that_are(relay: Invoke) -> None:
    result = relay("providers", "show", "midtran")
    assert result.exit_code == 2
    assert 'no provider named "midtran"; there are: midtrans' in result.stderr
