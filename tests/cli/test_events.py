"""History on the command line, on a spool that nobody serves."""

import asyncio
import csv
import io
import sqlite3
from base64 import b64decode
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.core.clock import SystemClock
from relay.core.event import Delivered, Done
from relay.core.request import Keep, VerifiedDelivery
from relay.spool.audit import Act, Actor
from relay.spool.sqlite import open_spool
from tests.cli.conftest import Invoke
from tests.harness.deliveries import verified


def store(config: Path, *keys: str) -> None:
    async def run() -> None:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        for key in keys:
            await spool.put(verified(key=key, body=key.encode()))
        await spool.close()

    asyncio.run(run())


def deliver(config: Path, number: int) -> None:
    """Store and settle this many events."""
    deliver_these(config, *(verified(key=str(key), body=b"%d" % key) for key in range(number)))


def deliver_these(config: Path, *given: VerifiedDelivery) -> None:
    """Store and settle these."""

    async def run() -> None:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        for each in given:
            await spool.put(each)
        for upstream in {name for each in given for name in each.upstreams}:
            claimed = await spool.claim(upstream, len(given), timedelta(minutes=1), ordered=False)
            await asyncio.gather(
                *(spool.settle(lease, Done(), Delivered(200)) for lease in claimed.leases)
            )
        await spool.close()

    asyncio.run(run())


def test_events_are_listed_newest_first_a_page_at_a_time(relay: Invoke, config: Path) -> None:
    store(config, "one", "two", "three")
    first = relay("events", "list", "-c", config, "--limit", "2", "--format", "json")
    page = orjson.loads(first.output)
    assert [each["key"] for each in page["events"]] == ["three", "two"]
    rest = relay("events", "list", "-c", config, "--after", page["next"], "--format", "json")
    assert [each["key"] for each in orjson.loads(rest.output)["events"]] == ["one"]


def test_plain_text_for_a_pipe_has_one_line_an_event(relay: Invoke, config: Path) -> None:
    store(config, "one", "a\nb\tc\x1b[2J")
    lines = relay("events", "list", "-c", config).stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].split("\t")[:3] == ["received_at", "endpoint", "status"]
    assert "\x1b" not in lines[1]


def test_filters_narrow(relay: Invoke, config: Path) -> None:
    store(config, "one", "two")
    result = relay("events", "list", "-c", config, "--key", "two", "--format", "json")
    assert [each["key"] for each in orjson.loads(result.output)["events"]] == ["two"]
    assert relay("events", "list", "-c", config, "--status", "lost").exit_code == 2
    assert relay("events", "list", "-c", config, "--since", "soon").exit_code == 2


def ids_of(result: Any) -> list[str]:
    assert result.exit_code == 0
    return [each["id"] for each in orjson.loads(result.output)["events"]]


def test_an_order_is_found_by_its_beginning(relay: Invoke, config: Path) -> None:
    now = SystemClock().now()
    given = [
        verified(
            key=f"k{number}",
            event_id=f"evt_0{number}aa",
            references=(("order_id", f"ORDER-{number}%_"), ("transaction_id", "<b>\u202e\x1b[2J")),
            received_at=now - timedelta(hours=2 - number),
        )
        for number in range(3)
    ]
    deliver_these(config, *given)
    listed = ("events", "list", "-c", config, "--format", "json")
    assert ids_of(relay(*listed, "--find", "ORDER")) == ["evt_02aa", "evt_01aa", "evt_00aa"]
    assert ids_of(relay(*listed, "--find", "ORDER-1%_")) == ["evt_01aa"]
    assert ids_of(relay(*listed, "--find", "evt_02")) == ["evt_02aa"]
    assert ids_of(relay(*listed, "--find", "k0")) == ["evt_00aa"]
    assert ids_of(relay(*listed, "--find", "%")) == []
    assert ids_of(relay(*listed, "--since", "90m")) == ["evt_02aa", "evt_01aa"]
    assert ids_of(relay(*listed, "--find", "ORDER", "--until", "30m")) == ["evt_01aa", "evt_00aa"]
    assert len(ids_of(relay(*listed, "--upstream", "billing", "--status", "delivered"))) == 3
    nothing = relay(*listed, "--upstream", "biling")
    assert 'nothing found: no upstream named "biling"' in nothing.stderr
    for mistake in (("--find", ""), ("--since", "next week"), ("--since", "1h", "--until", "2h")):
        refused = relay(*listed, *mistake)
        assert refused.exit_code == 2
        assert "Traceback" not in refused.output
    text = relay("events", "list", "-c", config, "--find", "ORDER-1").stdout
    assert "order_id ORDER-1%_, transaction_id <b>" in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    exported = relay("events", "export", "-c", config, "--find", "ORDER-2").stdout
    assert [orjson.loads(line)["id"] for line in exported.splitlines()] == ["evt_02aa"]
    put_back = relay("events", "requeue", "-c", config, "--find", "ORDER-2", "--yes")
    assert (put_back.exit_code, put_back.stdout.split()) == (0, ["requeued", "evt_02aa"])


def test_a_beginning_of_an_id_that_is_one_s_alone_will_do(relay: Invoke, config: Path) -> None:
    ids = ("evt_0123", "evt_0199", "evt_02aa")
    deliver_these(config, *(verified(key=each, event_id=each) for each in ids))
    shown = relay("events", "show", "evt_02", "-c", config, "--format", "json")
    assert orjson.loads(shown.output)["id"] == "evt_02aa"
    several = relay("events", "show", "evt_01", "-c", config)
    assert several.exit_code == 1
    assert several.stderr == "several events begin with evt_01: evt_0123, evt_0199\n"
    assert relay("events", "requeue", "evt_01", "-c", config).exit_code == 1
    unknown = relay("events", "show", "evt_3", "-c", config)
    assert (unknown.exit_code, unknown.stderr) == (1, "no event evt_3\n")
    done = relay("events", "requeue", "evt_02", "evt_02aa", "-c", config)
    assert (done.exit_code, done.stdout.split()) == (0, ["requeued", "evt_02aa"])


def test_one_event_is_shown_with_its_body(relay: Invoke, config: Path) -> None:
    store(config, "one")
    listed = orjson.loads(relay("events", "list", "-c", config, "--format", "json").output)
    event_id = listed["events"][0]["id"]
    shown = orjson.loads(relay("events", "show", event_id, "-c", config, "--format", "json").output)
    assert shown["content"]["body"] == "one"
    assert "body\tone" in relay("events", "show", event_id, "-c", config).stdout


def test_a_visitor_does_not_make_a_spool(relay: Invoke, config: Path) -> None:
    result = relay("events", "list", "-c", config)
    assert "there is no spool at" in str(result.exception)
    assert not (config.parent / "relay.db").exists()


def changed(config: Path, statement: str) -> None:
    with closing(sqlite3.connect(config.parent / "relay.db")) as spool, spool:
        spool.execute(statement)


@pytest.mark.parametrize("by", ["id", "filter"])
def test_a_damaged_event_is_not_requeued_and_that_is_said(
    relay: Invoke, config: Path, by: str
) -> None:
    deliver(config, 2)
    changed(config, "UPDATE events SET body = x'00' WHERE seq = 1")
    ids = [each["id"] for each in listed(relay, config)]
    words = ids if by == "id" else ["--status", "delivered", "--yes"]
    result = relay("events", "requeue", "-c", config, *words)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["requeued", ids[0]]
    assert result.stderr == (
        f"{ids[1]}: not requeued: it is damaged; the provider's next copy replaces it\n"
    )
    shown = relay("events", "show", ids[1], "-c", config, "--format", "json").output
    assert orjson.loads(shown)["content"] is None
    assert orjson.loads(shown)["damaged"] is True
    told = relay("events", "show", ids[1], "-c", config).stdout
    assert "body\tdamaged; the provider's next copy replaces it" in told


@pytest.mark.parametrize("by", ["id", "filter"])
def test_an_event_of_an_upstream_that_is_gone_is_not_requeued_and_that_is_said(
    relay: Invoke, config: Path, by: str
) -> None:
    deliver(config, 1)
    config.write_text(config.read_text().replace("billing", "ledger"))
    [event] = listed(relay, config)
    words = [event["id"]] if by == "id" else ["--status", "delivered", "--yes"]
    result = relay("events", "requeue", "-c", config, *words)
    assert result.exit_code == 1
    assert result.stderr == (
        f'{event["id"]}: not requeued: no upstream "billing" is configured, and it would wait for'
        " ever; name it again\n"
    )
    assert [each["status"] for each in listed(relay, config)] == ["delivered"]


def test_an_event_is_requeued_where_it_can_be_and_the_rest_is_said(
    relay: Invoke, config: Path
) -> None:
    event_id = (event := verified(upstreams=("billing", "gone", "lost"))).event_id
    deliver_these(config, event)
    result = relay("events", "requeue", event_id, "-c", config)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["requeued", event_id]
    assert result.stderr == (
        f'{event_id}: not requeued everywhere: no upstream "gone" or "lost" is configured, and it'
        " would wait for ever; name it again\n"
    )
    [shown] = listed(relay, config)
    found = {each["upstream"]: each["status"] for each in shown["destinations"]}
    assert found == {"billing": "pending", "gone": "delivered", "lost": "delivered"}


def test_of_an_event_that_goes_nowhere_it_is_said_what_can_be_done(
    relay: Invoke, config: Path
) -> None:
    event_id = (event := verified(upstreams=())).event_id
    deliver_these(config, event)
    result = relay("events", "requeue", event_id, "-c", config)
    assert result.exit_code == 1
    assert result.stderr == (
        f"{event_id}: not requeued: only dead, held and delivered destinations of an event with a"
        " body can be requeued; an event that has none can be sent to an upstream\n"
    )
    assert relay("events", "requeue", event_id, "-c", config, "--to", "billing").exit_code == 0


def listed(relay: Invoke, config: Path) -> list[dict[str, Any]]:
    page = orjson.loads(relay("events", "list", "-c", config, "--format", "json").output)
    events: list[dict[str, Any]] = page["events"]
    return events


async def _acts(config: Path) -> tuple[Act, ...]:
    spool = await open_spool(config.parent / "relay.db", SystemClock())
    acts = await spool.audit.newest(10)
    await spool.close()
    return acts


def test_requeue_by_filter_takes_every_page(relay: Invoke, config: Path) -> None:
    deliver(config, 250)
    words = ("events", "requeue", "-c", config, "--status", "delivered", "--yes")
    result = relay(*words, "--format", "json")
    assert result.exit_code == 0
    assert len(orjson.loads(result.output)["requeued"]) == 250
    acts = asyncio.run(_acts(config))
    assert {(each.name, each.actor) for each in acts} == {("requeue", Actor.CLI)}
    touched = [each.detail["events"] for each in acts]
    assert sum(len(events) for events in touched if isinstance(events, list)) == 250
    assert all(each.origin for each in acts)


def test_requeue_stops_at_the_limit_that_is_given(relay: Invoke, config: Path) -> None:
    deliver(config, 5)
    words = ("events", "requeue", "-c", config, "--status", "delivered", "--yes", "--limit", "2")
    assert len(orjson.loads(relay(*words, "--format", "json").output)["requeued"]) == 2


def test_ids_and_filters_are_not_mixed(relay: Invoke, config: Path) -> None:
    deliver(config, 1)
    result = relay("events", "requeue", "evt_1", "-c", config, "--endpoint", "other", "--yes")
    assert result.exit_code == 2
    assert "not both" in result.stderr


@pytest.mark.parametrize("after", ["x", "9" * 30 + "-1", "1-" + "9" * 30, "1_0-1"])
def test_a_cursor_that_is_none_is_a_mistake_in_the_call(
    after: str, relay: Invoke, config: Path
) -> None:
    store(config, "one")
    result = relay("events", "list", "-c", config, "--after", after)
    assert result.exit_code == 2
    assert "is not the `next` of a page" in result.stderr


def test_an_export_has_every_event_with_its_own_bytes(relay: Invoke, config: Path) -> None:
    deliver(config, 250)
    store(config, "caf\xe9")
    result = relay("events", "export", "-c", config)
    assert result.exit_code == 0
    told = [orjson.loads(line) for line in result.stdout.splitlines()]
    assert len({each["id"] for each in told}) == 251
    assert b64decode(told[0]["content"]["body_base64"]) == "caf\xe9".encode()
    assert told[0]["content"]["headers"] == [["Content-Type", "application/json"]]


def test_an_export_is_narrowed_and_limited(relay: Invoke, config: Path) -> None:
    deliver(config, 120)
    store(config, "one")
    words = ("events", "export", "-c", config)
    (only,) = relay(*words, "--key", "one").stdout.splitlines()
    assert orjson.loads(only)["key"] == "one"
    assert len(relay(*words, "--limit", 110).stdout.splitlines()) == 110
    assert relay(*words, "--limit", 0).exit_code == 2
    assert relay(*words, "--status", "lost").exit_code == 2


def test_nothing_found_of_an_endpoint_that_is_none_says_so(relay: Invoke, config: Path) -> None:
    store(config, "one")
    for words in (("list",), ("export",), ("requeue", "--yes")):
        wrong = relay("events", *words, "-c", config, "--endpoint", "midtran")
        assert 'no endpoint named "midtran"; did you mean "midtrans"?' in wrong.stderr
    assert relay("events", "list", "-c", config, "--endpoint", "vipps").stderr == ""


def test_what_a_sender_wrote_hides_nothing_in_any_output(relay: Invoke, config: Path) -> None:
    key = "A-1\u202e 2\x9b\u200b\x7f"
    store(config, key)
    (event,) = listed(relay, config)
    assert event["key"] == key
    for words in (
        ("list",),
        ("list", "--format", "json"),
        ("show", event["id"]),
        ("show", event["id"], "--format", "json"),
        ("export",),
        ("requeue", key),
    ):
        result = relay("events", words[0], *words[1:], "-c", config)
        shown = result.stdout + result.stderr
        assert (
            "A-1\\u202e 2\\x9b" in shown or "A-1\\u202e 2\\u009b" in shown or words[0] == "export"
        )
        assert not set(shown) & set("\u202e\x9b\u200b\x7f")


@pytest.mark.parametrize("keep", [Keep.HEADERS, Keep.NONE])
def test_what_is_not_kept_is_said_to_be_gone(relay: Invoke, config: Path, keep: Keep) -> None:
    event = replace(verified(), keep=keep)
    deliver_these(config, event, verified(key="2"))
    shown = relay("events", "show", event.event_id, "-c", config)
    assert f"body\tremoved after delivery: keep: {keep}" in shown.stdout
    assert ("header Content-Type" in shown.stdout) == (keep is Keep.HEADERS)
    again = relay("events", "requeue", event.event_id, "-c", config)
    assert again.exit_code == 1
    assert "its content was removed for good" in again.stderr
    export = relay("events", "export", "-c", config)
    assert export.exit_code == 1
    assert "1 of 2 are exported without their body" in export.stderr
    _, gone = (orjson.loads(line) for line in export.stdout.splitlines())
    assert gone["removed"] == keep.value
    assert gone["content"] is None or gone["content"]["body_base64"] is None
    assert relay("events", "export", "-c", config, "--key", "2").exit_code == 0


def test_what_is_redacted_is_masked_wherever_it_is_shown(relay: Invoke, config: Path) -> None:
    text = config.read_text().replace("midtrans/notification\n", MASKED)
    config.write_text(text)
    event = verified(body=b'{"card": {"number": "4111-canary"}, "order_id": "1"}')
    plain = verified(key="2", body=b"4111-canary in a form")
    deliver_these(config, event, plain)
    for each in (event, plain):
        for form in ("text", "json"):
            shown = relay("events", "show", each.event_id, "-c", config, "--format", form)
            assert "4111-canary" not in shown.output
            assert "***" in shown.output
    assert "it is no JSON" in relay("events", "show", plain.event_id, "-c", config).stdout
    lines = relay("events", "export", "-c", config).stdout.splitlines()
    bodies = [b64decode(orjson.loads(line)["content"]["body_base64"]) for line in lines]
    assert bodies[1] == b'{"card":{"number":"***"},"order_id":"1"}'
    assert bodies[0].startswith(b"*** (not shown")


MASKED = "midtrans/notification\n    redact: [/card/number]\n"


def test_an_export_for_spreadsheets(relay: Invoke, config: Path) -> None:
    event = verified(key="=1+1", body=b"caf\xc3\xa9,\n", references=(("order_id", "@SUM(1)"),))
    deliver_these(config, event)
    result = relay("events", "export", "-c", config, "--format", "csv")
    assert result.exit_code == 0
    heading, cells = csv.reader(io.StringIO(result.stdout, newline=""))
    told = dict(zip(heading, cells, strict=True))
    assert (told["id"], told["key"], told["body"]) == (event.event_id, "'=1+1", "café,\\n")
    assert relay("events", "export", "-c", config, "--format", "xls").exit_code == 2
