"""Whether everything that tells of a relay's events tells the same."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import aiohttp
import orjson
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.ledger import Ledger, of_the_living
from tests.harness.lives import Life, Lives

_PAGE = 1000

Samples = dict[str, dict[tuple[tuple[str, str], ...], int]]


async def one_story(life: Life, lives: Lives) -> Ledger:
    """Return what lies in the spool of a relay that has nothing in hand.

    Raises:
        AssertionError: `relay events`, the admin API, the metrics or the log say something else.
    """
    token = lives.environ["RELAY_ADMIN_TOKEN"]
    async with aiohttp.ClientSession(
        life.admin_url, headers={"Authorization": f"Bearer {token}"}
    ) as admin:

        async def ask(query: dict[str, str]) -> Any:
            async with admin.get("/api/v1/events", params=query) as response:
                assert response.status == 200
                return await response.json()

        by_api = await _pages(ask)
        async with admin.get("/metrics") as response:
            samples = _samples(await response.text())
    by_command = await _pages(lambda query: _command(lives, query))
    ledger = of_the_living(lives.spool)
    await _same_events(ledger, by_api, by_command, samples)
    await _same_counters(life, samples)
    _same_ends(life, ledger)
    return ledger


async def _pages(ask: Callable[[dict[str, str]], Awaitable[Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = {"limit": str(_PAGE)}
    while True:
        page = await ask(query)
        found += page["events"]
        if page["next"] is None:
            return found
        query["after"] = page["next"]


async def _command(lives: Lives, query: dict[str, str]) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "events", "list", "--format", "json"),
        *("-c", str(lives.config)),
        *(word for name, value in query.items() for word in (f"--{name}", value)),
        env={**lives.environ, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return orjson.loads(output)


def _samples(text: str) -> Samples:
    """Return each sample that is not zero, by name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.value:
                labels = tuple(sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[labels] = int(sample.value)
    return found


async def _same_events(
    ledger: Ledger,
    by_api: list[dict[str, Any]],
    by_command: list[dict[str, Any]],
    samples: Samples,
) -> None:
    assert ledger.sound == "ok"
    assert ledger.tallies == ledger.counts
    assert by_command == by_api
    columns = ("endpoint", "upstream", "key", "status", "attempts")
    told = {each["id"]: tuple(each[name] for name in columns) for each in by_api}
    written = {row.id: tuple(getattr(row, name) for name in columns) for row in ledger.rows}
    assert told == written
    assert len(by_api) == len(written)
    gauge = samples.get("relay_spool_events", {})
    assert gauge == {
        (("endpoint", endpoint), ("status", status)): number
        for (endpoint, status), number in ledger.counts.items()
    }


async def _same_counters(life: Life, samples: Samples) -> None:
    """Compare what was counted with what was logged; both begin with the process."""
    for name, event, labels in (
        ("relay_deliveries_total", "delivery", ("endpoint", "provider", "verdict")),
        ("relay_refusals_total", "delivery", ("endpoint", "reason")),
        ("relay_attempts_total", "attempt", ("outcome", "upstream")),
    ):
        counted = samples.get(name, {})
        if name != "relay_refusals_total" and counted:
            await life.wait_for(sum(counted.values()), event=event)
        assert counted == _logged(life.having(event=event), labels), name
    dead = life.having(event="attempt", decision="dead")
    assert samples.get("relay_dead_letters_total", {}) == _logged(dead, ("upstream",))


def _logged(
    lines: Iterable[dict[str, Any]], labels: tuple[str, ...]
) -> dict[tuple[tuple[str, str], ...], int]:
    return Counter(
        tuple((label, line.get(label) or "") for label in labels)
        for line in lines
        if labels[-1] in line
    )


def _same_ends(life: Life, ledger: Ledger) -> None:
    """Compare the last that was logged of each event with what is written of it."""
    ends = {"done": "delivered", "dead": "dead", "retry": "pending"}
    by_id = {row.id: row for row in ledger.rows}
    last = {line["id"]: line for line in life.having(event="attempt")}
    for event_id, line in last.items():
        row = by_id[event_id]
        assert (row.status, row.attempts) == (ends[line["decision"]], line["attempt"]), line
