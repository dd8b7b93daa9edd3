"""`relay check --replay`: what is stored of the last days, judged by the file that is checked."""

from datetime import timedelta
from typing import Any

import typer

from relay.cli.common import with_spool
from relay.cli.output import complain, print_rows, print_table
from relay.cli.progress import progress
from relay.config import Settings
from relay.config.types import duration
from relay.core.clock import SystemClock


def replay_span(text: str) -> timedelta:
    """Return how far back to go.

    Raises:
        typer.BadParameter: it is no duration.
    """
    try:
        return duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"--replay: {error}") from None


def replay_stored(settings: Settings, span: timedelta) -> dict[str, Any]:
    """Judge what came within this time; return it as JSON.

    Raises:
        SpoolUnavailable: there is no spool where this file says, or it cannot be read.
        RelayError: the DNS cache cannot be read.
    """
    # `relay check` alone starts faster without it.
    from relay.explain.replay import replay, replay_json  # noqa: PLC0415

    clock = SystemClock()
    since = clock.now() - span
    with progress("judged") as counter:
        found = with_spool(
            settings,
            lambda spool: replay(settings, spool, since=since, clock=clock, judged=counter.add),
        )
    return replay_json(found)


def print_replay(found: dict[str, Any]) -> None:
    """Print the changes, the numbers, and what was not judged."""
    if found["changes"]:
        names = "id change endpoint received_at was would_be why"
        print_rows(names.split(), found["changes"])
    listed = len(found["changes"])
    if (number := sum(found["summary"].values())) > listed:
        complain(f"{number - listed} more would change; the last {listed} are listed")
    rows = [("unchanged", found["unchanged"], "")]
    rows += [(f"would be {name}", number, "") for name, number in found["summary"].items()]
    rows += [("not judged", each["deliveries"], each["why"]) for each in found["not_judged"]]
    rows.append(("never judged", "", ", ".join(found["never_judged"])))
    print_table((f"since {found['since']}", "deliveries", "why"), rows)
