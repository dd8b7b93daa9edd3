"""`relay check --connect`: each upstream is tried step by step, and no event reaches it."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relay.app.spools import paused_upstreams
from relay.cli.output import complain, print_table
from relay.cli.progress import progress
from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.errors import SpoolUnavailable

if TYPE_CHECKING:
    from relay.app.probing import Probed


def try_upstreams(settings: Settings) -> list[dict[str, Any]]:
    """Try each upstream of this file; return what was seen, as JSON."""
    # `relay check` alone starts faster without it.
    from relay.app.probing import probe_count, probe_upstreams  # noqa: PLC0415

    with progress("tried", probe_count(settings)) as counter:
        found = asyncio.run(
            probe_upstreams(settings, _paused(settings), SystemClock(), counter.add)
        )
    return [_json(each) for each in found]


def print_tried(rows: Sequence[dict[str, Any]]) -> None:
    """Print a table for each upstream, and which steps have failed on standard error."""
    for row in rows:
        shown = f"{row['upstream']}, {row['url']}{', paused' if row['paused'] else ''}"
        print_table(
            (row["server"], shown),
            [
                (step["step"], step["detail"] if step["ok"] else f"FAILED: {step['detail']}")
                for step in row["steps"]
            ],
        )
    for row in rows:
        for step in row["steps"]:
            if not step["ok"]:
                server = "" if row["server"] == "upstream" else f", {row['server']}"
                complain(f"{row['upstream']}{server}: {step['detail']}")


def _paused(settings: Settings) -> set[str]:
    """Return which upstreams are paused, by the file or, as far as that can be read, a person."""
    by_file = {name for name, each in settings.upstreams.items() if each.paused}
    try:
        return by_file | paused_upstreams(settings)
    except SpoolUnavailable:
        return by_file


def _json(probed: "Probed") -> dict[str, Any]:
    return {
        "upstream": probed.upstream,
        "server": probed.server,
        "url": probed.url,
        "paused": probed.paused,
        "ok": probed.ok,
        "steps": [
            {"step": each.step, "ok": each.ok, "detail": each.detail} for each in probed.steps
        ],
    }
