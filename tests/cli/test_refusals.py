"""Refusals on the command line, on a spool that nobody serves."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import orjson

from relay.core.clock import SystemClock
from relay.core.request import ClientAddress, Headers, Via
from relay.core.secret import Secret
from relay.providers import Provider, SampleOrder
from relay.providers.builtin import provider_named
from relay.spool.refusals import Refused
from relay.spool.sqlite import open_spool
from relay.spool.strangers import StrangerLimits
from tests.cli.conftest import Invoke
from tests.contracts.refusals import BOUNDS, refused
from tests.contracts.strangers import seen
from tests.harness.deliveries import RECEIVED

MIDTRANS: Provider = provider_named("midtrans")


def genuine(number: int, key: str = "SB-Mid-server-x") -> Refused:
    """Return a message that was signed with this key, from an address of the sandbox."""
    sample = MIDTRANS.sample(SampleOrder("https://x.test/", Secret(key), RECEIVED, {}))
    made = refused(number, body=sample.body)
    head = replace(made.head, target="/midtrans/notification", headers=Headers())
    client = ClientAddress(ip_address("34.101.68.130"), Via.PEER)
    return replace(made, head=head, client=client)


def keep(config: Path, *each: Refused) -> None:
    async def run() -> None:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        await spool.refusals.keep(each, BOUNDS)
        await spool.close()

    asyncio.run(run())


def test_refusals_are_listed_a_page_at_a_time(relay: Invoke, config: Path) -> None:
    keep(config, refused(1), refused(2), refused(3, endpoint="other"))
    words = ("refusals", "list", "-c", config, "--endpoint", "midtrans", "--limit", 1)
    page = orjson.loads(relay(*words, "--format", "json").output)
    assert [each["id"] for each in page["refusals"]] == ["ref_002"]
    rest = relay(*words, "--after", page["next"])
    heading, line = rest.stdout.splitlines()
    assert heading.split("\t")[-1] == "id"
    assert line.split("\t")[-1] == "ref_001"
    assert "--after" in relay(*words).stderr


def test_one_is_shown_with_its_content(relay: Invoke, config: Path) -> None:
    keep(config, refused(1))
    shown = relay("refusals", "show", "ref_001", "-c", config).stdout
    assert "header Host\tpay.example" in shown
    assert "body\t1" in shown
    result = relay("refusals", "show", "ref_001", "-c", config, "--format", "json")
    assert orjson.loads(result.output)["content"]["target"] == "/hook?…"
    assert "a=b" not in shown + result.output
    missing = relay("refusals", "show", "ref_9", "-c", config)
    assert (missing.exit_code, missing.stderr) == (1, "no refusal ref_9\n")


def test_one_is_found_by_how_no_other_begins(relay: Invoke, config: Path) -> None:
    keep(config, refused(11), refused(12), refused(2))
    assert "ref_002" in relay("refusals", "show", "ref_00", "-c", config).stdout
    several = relay("refusals", "explain", "ref_01", "-c", config)
    assert several.exit_code == 1
    assert several.stderr == "several refusals begin with ref_01: ref_011, ref_012\n"


def test_one_is_walked_through_every_step(relay: Invoke, config: Path) -> None:
    keep(config, genuine(1), genuine(2, key="of the other environment"))
    now = relay("refusals", "explain", "ref_001", "-c", config)
    assert now.exit_code == 0
    assert "it would be taken now: relay refusals release ref_001" in now.stdout
    still = relay("refusals", "explain", "ref_002", "-c", config, "--format", "json")
    assert still.exit_code == 1
    told = orjson.loads(still.output)
    assert (told["id"], told["verdict"], told["reason"], told["released_as"]) == (
        "ref_002",
        "refuse",
        "signature_mismatch",
        None,
    )
    assert "SB-Mid-server-x" not in still.output
    missing = relay("refusals", "explain", "ref_9", "-c", config)
    assert (missing.exit_code, missing.stderr) == (1, "no refusal ref_9\n")


def test_strangers_are_listed_with_what_fitted_first(relay: Invoke, config: Path) -> None:
    async def count() -> None:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        await spool.strangers.add([seen(1, fits=True), seen(2, times=7)], StrangerLimits())
        await spool.close()

    asyncio.run(count())
    heading, *lines = relay("refusals", "strangers", "-c", config).stdout.splitlines()
    assert heading.split("\t")[-2:] == ["network", "address"]
    assert [line.split("\t")[-1] for line in lines] == ["192.0.2.1", "192.0.2.2"]
    words = ("refusals", "strangers", "-c", config, "--format", "json", "--limit", 1)
    [first] = orjson.loads(relay(*words).output)["strangers"]
    assert (first["network"], first["times"], first["signature_fits"]) == ("192.0.2.1", 1, True)
    none = relay(*words, "--endpoint", "midtran")
    assert (none.exit_code, orjson.loads(none.stdout)) == (0, {"strangers": []})
    assert 'did you mean "midtrans"?' in none.stderr


def test_one_that_was_released_says_so(relay: Invoke, config: Path) -> None:
    keep(config, genuine(1))
    assert relay("refusals", "release", "ref_001", "-c", config).exit_code == 0
    result = relay("refusals", "explain", "ref_001", "-c", config)
    assert result.exit_code == 0
    assert "it is the event evt_" in result.stdout


def test_what_verifies_now_becomes_an_event(relay: Invoke, config: Path) -> None:
    keep(config, genuine(1), genuine(2))
    words = ("refusals", "release", "ref_001", "ref_002", "-c", config)
    result = relay(*words, "--format", "json")
    assert result.exit_code == 0
    told = orjson.loads(result.output)["refusals"]
    assert [each["result"] for each in told] == ["released", "released"]
    listed = orjson.loads(relay("events", "list", "-c", config, "--format", "json").output)
    assert {each["id"] for each in listed["events"]} == {each["event"] for each in told}
    assert relay(*words).stdout.count("released_before") == 2


def test_what_does_not_verify_stays_with_its_reason(relay: Invoke, config: Path) -> None:
    keep(config, genuine(1), genuine(2, key="of the other environment"))
    result = relay("refusals", "release", "ref_001", "ref_002", "ref_9", "-c", config)
    assert result.exit_code == 1
    assert [line.split("\t")[1] for line in result.stdout.splitlines()[1:]] == [
        "released",
        "refused",
        "unknown",
    ]
    assert "signature_mismatch" in result.stdout


def test_a_filter_that_is_none_says_what_to_write(relay: Invoke, config: Path) -> None:
    keep(config, refused(1))
    result = relay("refusals", "list", "-c", config, "--reason", "bad")
    assert result.exit_code == 2
    assert "signature_mismatch" in result.stderr
    assert relay("refusals", "list", "-c", config, "--after", "x").exit_code == 2


def test_nothing_found_of_an_endpoint_that_is_none_says_so(relay: Invoke, config: Path) -> None:
    keep(config, refused(1))
    wrong = relay("refusals", "list", "-c", config, "--endpoint", "midtran")
    assert wrong.exit_code == 0
    assert 'no endpoint named "midtran"; did you mean "midtrans"?' in wrong.stderr


def test_what_is_redacted_is_masked(relay: Invoke, config: Path) -> None:
    place = "midtrans/notification\n"
    config.write_text(
        config.read_text().replace(place, place + "    redact: [/card/number, /order_id]\n")
    )
    keep(config, refused(1, body=b'{"card": {"number": "4111-canary"}}'))
    keep(config, refused(2, body=b"number=4111-canary"), genuine(3, "another key"))
    for number in (1, 2):
        for form in ("text", "json"):
            words = ("refusals", "show", f"ref_00{number}", "-c", config, "--format", form)
            shown = relay(*words)
            assert shown.exit_code == 0
            assert "4111-canary" not in shown.output
            assert "***" in shown.output
    order = orjson.loads(genuine(3).body)["order_id"]
    explained = relay("refusals", "explain", "ref_003", "-c", config)
    assert order not in explained.output
    assert "signed\t-\t***" in explained.output
