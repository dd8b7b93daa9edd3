"""Upstreams on the command line, on a spool that no relay serves."""

import asyncio
import os
import pwd
from pathlib import Path

import orjson
import pytest

from relay.core.clock import SystemClock
from relay.spool.audit import Act, Actor
from relay.spool.sqlite import open_spool
from tests.cli.conftest import Invoke
from tests.harness.deliveries import verified


@pytest.fixture(autouse=True)
def stored(config: Path) -> None:
    """Have one event wait for `billing`, and one for an upstream that is not configured."""

    async def run() -> None:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        await spool.put(verified(key="1"))
        await spool.put(verified(key="2", upstream="ledger"))
        await spool.close()

    asyncio.run(run())


def acts(config: Path) -> list[Act]:
    async def run() -> list[Act]:
        spool = await open_spool(config.parent / "relay.db", SystemClock())
        found = await spool.audit.newest(9)
        await spool.close()
        return [*found]

    return asyncio.run(run())


def test_they_are_listed_by_what_the_spool_knows(relay: Invoke, config: Path) -> None:
    listed = orjson.loads(relay("upstreams", "list", "-c", config, "--format", "json").stdout)
    billing, ledger = listed["upstreams"]
    assert billing.pop("oldest_at") == ledger.pop("oldest_at")
    nothing: dict[str, object] = {
        "backlog": 1,
        "breaker": None,
        "paused": False,
        "rate": None,
        "auth": None,
    }
    nothing |= {"tls": None, "headers": [], "final": []}
    senders = {"endpoints": ["midtrans", "vipps"]}
    assert billing == {"name": "billing", "url": "http://127.0.0.1:1/", **nothing, **senders}
    assert ledger == {"name": "ledger", "url": None, **nothing, "endpoints": []}
    lines = relay("upstreams", "list", "-c", config).stdout.splitlines()
    assert [line.split("\t")[:4] for line in lines[1:]] == [
        ["billing", "no", "", "1"],
        ["ledger", "no", "", "1"],
    ]
    assert [line.split("\t")[5:] for line in lines] == [
        ["url", "called_with", "for"],
        ["http://127.0.0.1:1/", "", "midtrans, vipps"],
        ["", "", "no endpoint"],
    ]


def test_one_is_paused_and_resumed_and_both_are_on_record(relay: Invoke, config: Path) -> None:
    done = relay("upstreams", "pause", "billing", "-c", config)
    said = "billing is paused; resume it with `relay upstreams resume billing`\n"
    assert (done.exit_code, done.stdout) == (0, said)
    again = relay("upstreams", "pause", "billing", "-c", config)
    assert (again.exit_code, again.stdout) == (0, "billing was paused already\n")
    assert "billing\tyes" in relay("upstreams", "list", "-c", config).stdout
    resumed = relay("upstreams", "resume", "billing", "-c", config, "--format", "json")
    assert orjson.loads(resumed.stdout) == {
        "upstream": "billing",
        "paused": False,
        "changed": True,
    }
    assert (
        relay("upstreams", "resume", "billing", "-c", config).stdout == "billing was not paused\n"
    )
    newest = acts(config)
    assert [act.name for act in newest] == ["resume", "resume", "pause", "pause"]
    user = pwd.getpwuid(os.getuid()).pw_name
    assert {(act.actor, act.origin, act.detail["upstream"]) for act in newest} == {
        (Actor.CLI, user, "billing")
    }


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_unknown_one_is_told_with_the_near_name(verb: str, relay: Invoke, config: Path) -> None:
    result = relay("upstreams", verb, "biling", "-c", config)
    assert result.exit_code == 1
    assert result.stderr == 'no upstream named "biling"; did you mean "billing"?\n'
    assert acts(config) == []


def test_what_the_file_pauses_no_command_resumes(relay: Invoke, config: Path) -> None:
    text = config.read_text()
    config.write_text(text.replace('127.0.0.1:1/"', '127.0.0.1:1/", paused: true'))
    assert "billing\tyes" in relay("upstreams", "list", "-c", config).stdout
    result = relay("upstreams", "resume", "billing", "-c", config)
    assert result.exit_code == 1
    assert "`paused: true`" in result.stderr


def test_a_pause_says_what_it_does_not_hold_up(relay: Invoke, config: Path) -> None:
    text = config.read_text()
    config.write_text(text + "    mode: proxy\n")
    result = relay("upstreams", "pause", "billing", "-c", config)
    assert result.exit_code == 0
    assert "what vipps passes on (mode: proxy)" in result.stderr
