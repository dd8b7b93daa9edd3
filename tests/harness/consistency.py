"""Compare what spool, `relay events`, admin API, metrics and log say of the same events."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.clock import wait_until
from tests.harness.node import Node
from tests.harness.restarts import Life, Restarts
from tests.harness.spool_audit import Row, SpoolAudit, audit_running

_PAGE = 1000

#: Seconds until a relay has nothing in hand: a lease of one that is gone may have to run out.
_PATIENCE = 45.0

_Labels = tuple[str, ...]
Samples = dict[str, dict[tuple[tuple[str, str], ...], int]]


async def check_consistency(life: Life, lives: Restarts) -> SpoolAudit:
    """Return what lies in the spool of a relay that has nothing in hand.

    Raises:
        AssertionError: `relay events`, the admin API, the metrics or the log say something else.
    """
    return await check_consistency_of(life, lives.config, lives.spool, lives.environ)


async def check_consistency_when_idle(
    node: Node,
    config: Path,
    spool: Path,
    environ: Mapping[str, str],
    *,
    before: AbstractSet[str] = frozenset(),
) -> SpoolAudit:
    """Wait until a relay has delivered everything and has said so, then do as `check_consistency`.

    before: the events that were delivered before it was started.

    Raises:
        AssertionError: as `check_consistency`; or that does not come.
    """

    def quiet() -> bool:
        return not audit_running(spool).having("pending", "leased")

    assert await wait_until(quiet, _PATIENCE), f"not delivered: {audit_running(spool).counts}"
    settled = audit_running(spool).having("delivered") - before

    def told() -> bool:
        return settled <= {line["id"] for line in node.having(event="attempt", decision="done")}

    assert await wait_until(told, _PATIENCE), "delivered, and not logged"
    return await check_consistency_of(node, config, spool, environ)


async def check_consistency_of(
    node: Node, config: Path, spool: Path, environ: Mapping[str, str]
) -> SpoolAudit:
    """Do as `check_consistency` with a relay that is not one of several lives."""
    token = environ["RELAY_ADMIN_TOKEN"]
    async with aiohttp.ClientSession(
        node.admin_url, headers={"Authorization": f"Bearer {token}"}
    ) as admin:

        async def ask(query: dict[str, str]) -> Any:
            async with admin.get("/api/v1/events", params=query) as response:
                assert response.status == 200
                return await response.json()

        by_api = await _pages(ask)
        async with admin.get("/metrics") as response:
            samples = _samples(await response.text())
    by_command = await _pages(lambda query: _command(config, environ, query))
    audit = audit_running(spool)
    await _same_events(audit, by_api, by_command, samples)
    await _same_counters(node, samples)
    _same_ends(node, audit)
    return audit


async def _pages(ask: Callable[[dict[str, str]], Awaitable[Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = {"limit": str(_PAGE)}
    while True:
        page = await ask(query)
        found += page["events"]
        if page["next"] is None:
            return found
        query["after"] = page["next"]


async def _command(config: Path, environ: Mapping[str, str], query: dict[str, str]) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "events", "list", "--format", "json"),
        *("-c", str(config)),
        *(word for name, value in query.items() for word in (f"--{name}", value)),
        env={**environ, "PATH": "/usr/bin:/bin"},
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
    audit: SpoolAudit,
    by_api: list[dict[str, Any]],
    by_command: list[dict[str, Any]],
    samples: Samples,
) -> None:
    assert audit.sound == "ok"
    assert audit.tallies == audit.counts
    assert by_command == by_api
    told = {each["id"]: each for each in by_api}
    # Each by itself: what differs is found among thousands.
    for event_id, rows in _written(audit).items():
        assert _as_told(told.pop(event_id)) == _as_written(rows)
    assert told == {}
    assert sum(len(each["destinations"]) for each in by_api) == len(audit.rows)
    gauge = samples.get("relay_spool_events", {})
    assert gauge == {
        (("endpoint", endpoint), ("status", status)): number
        for (endpoint, status), number in audit.counts.items()
    }


#: The most urgent of an event's destinations says what its status is.
_URGENCY = ("dead", "held", "leased", "pending", "delivered", "passed", "test")


def _written(audit: SpoolAudit) -> dict[str, list[Row]]:
    """Return the destinations of each event; of one that has none, its row alone."""
    found: dict[str, list[Row]] = {}
    for row in (*audit.rows, *audit.unrouted):
        found.setdefault(row.id, []).append(row)
    return found


_Event = tuple[str, str, str, int, set[tuple[str, str, int]]]


def _as_written(rows: Sequence[Row]) -> _Event:
    """Return endpoint, key, status, attempts and destinations as an event is to show them."""
    status = min((row.status for row in rows), key=_URGENCY.index)
    attempts = sum(row.attempts for row in rows)
    destinations = {(row.upstream, row.status, row.attempts) for row in rows if row.upstream}
    return rows[0].endpoint, rows[0].key, status, attempts, destinations


def _as_told(event: Mapping[str, Any]) -> _Event:
    destinations = event["destinations"]
    assert event["upstream"] == (destinations[0]["upstream"] if destinations else None)
    shown = {(each["upstream"], each["status"], each["attempts"]) for each in destinations}
    return event["endpoint"], event["key"], event["status"], event["attempts"], shown


async def _same_counters(node: Node, samples: Samples) -> None:
    """Compare what was counted with what was logged; both begin with the process."""
    for name, event, labels in (
        ("relay_deliveries_total", "delivery", ("endpoint", "provider", "verdict")),
        ("relay_refusals_total", "delivery", ("endpoint", "reason")),
        ("relay_attempts_total", "attempt", ("outcome", "upstream")),
    ):
        counted = samples.get(name, {})
        await _line_of_each(node, counted, event, labels)
        assert counted == _logged(node.having(event=event), labels), name
    unrouted = node.having(event="delivery", unrouted=True)
    assert samples.get("relay_unrouted_total", {}) == _logged(unrouted, ("endpoint",))
    dead = node.having(event="attempt", decision="dead")
    assert samples.get("relay_dead_letters_total", {}) == _logged(dead, ("upstream",))


async def _line_of_each(
    node: Node, counted: Mapping[tuple[tuple[str, str], ...], int], event: str, labels: _Labels
) -> None:
    """Wait until all that was counted is logged: lines come some time after that."""
    await wait_until(lambda: counted == _logged(node.having(event=event), labels), _PATIENCE)


def _logged(
    lines: Iterable[dict[str, Any]], labels: _Labels
) -> dict[tuple[tuple[str, str], ...], int]:
    return Counter(
        tuple((label, line.get(label) or "") for label in labels)
        for line in lines
        if labels[-1] in line
    )


def _same_ends(node: Node, audit: SpoolAudit) -> None:
    """Compare the last that was logged of each event with what is written of it."""
    ends = {"done": "delivered", "dead": "dead", "retry": "pending", "passed": "passed"}
    by_destination = {(row.id, row.upstream): row for row in audit.rows}
    # What was lost with its lease is told by whoever has the event now.
    written = (line for line in node.having(event="attempt") if line["decision"] != "lost")
    last = {(line["id"], line["upstream"]): line for line in written}
    for destination, line in last.items():
        row = by_destination[destination]
        assert (row.status, row.attempts) == (ends[line["decision"]], line["attempt"]), line
