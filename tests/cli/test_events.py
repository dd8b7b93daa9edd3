"""History on the command line, on a spool that nobody serves."""

import asyncio
from pathlib import Path

import orjson

from relay.clock import SystemClock
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


def test_one_event_is_shown_with_its_body(relay: Invoke, config: Path) -> None:
    store(config, "one")
    listed = orjson.loads(relay("events", "list", "-c", config, "--format", "json").output)
    event_id = listed["events"][0]["id"]
    shown = orjson.loads(relay("events", "show", event_id, "-c", config, "--format", "json").output)
    assert shown["content"]["body"] == "one"
    assert "body\tone" in relay("events", "show", event_id, "-c", config).stdout
