"""`relay events requeue`: by id or by filter, here or to another upstream, at once or over time."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

import typer

from relay.admin import requeueing
from relay.admin.requeueing import Order
from relay.admin.short_ids import whole_id
from relay.admin.upstreams import UnknownUpstream
from relay.cli import completion
from relay.cli.common import (
    CONFIG,
    DEFAULT_CONFIG,
    ENDPOINT,
    FIND,
    KEY,
    LIMIT,
    SINCE,
    STATUS,
    UNTIL,
    UPSTREAM,
    load_settings,
    query_events,
    record_act,
    warn_unknown_names,
    with_event_ids,
    with_spool,
)
from relay.cli.output import FORMAT, Format, complain, print_json, print_rows, print_table
from relay.cli.process import INTERRUPTED
from relay.cli.progress import Counter, progress
from relay.config import Settings
from relay.core.clock import SystemClock
from relay.spool import Spool
from relay.spool.history import Query, Requeueable, Requeued


@dataclass
class _Outcome:
    """What has been done so far; an interruption leaves it as it is."""

    ids: list[str] = field(default_factory=list)
    damaged: dict[str, None] = field(default_factory=dict)
    removed: dict[str, None] = field(default_factory=dict)
    unserved: dict[tuple[str, str], None] = field(default_factory=dict)

    def add(self, page: Requeued) -> None:
        self.ids += page.ids
        self.damaged |= dict.fromkeys(page.damaged)
        self.removed |= dict.fromkeys(page.removed)
        self.unserved |= dict.fromkeys(page.unserved)

    def requeued(self) -> Requeued:
        return Requeued(
            tuple(self.ids), tuple(self.damaged), tuple(self.unserved), tuple(self.removed)
        )


def requeue(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID")] = None,
    *,
    config: CONFIG = DEFAULT_CONFIG,
    find: FIND = None,
    status: STATUS = None,
    endpoint: ENDPOINT = None,
    upstream: UPSTREAM = None,
    key: KEY = None,
    since: SINCE = None,
    until: UNTIL = None,
    limit: LIMIT = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="UPSTREAM",
            help="Deliver to this upstream besides, and leave the others as they are.",
            autocompletion=completion.upstreams,
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="N/s", help="So many a second, minute (/m), /h.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be done, and do nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing; needed for a filter in a pipe.")
    ] = False,
    form: FORMAT = Format.TEXT,
) -> None:
    """Put dead, held or delivered events back, with a fresh retry schedule.

    On a terminal a filter asks first, with the number. With --status, only destinations of that
    status go; with --upstream, only that one, of named events, too. --rate plans them over at most
    24 hours; that goes on without this command.

    Example: relay events requeue --status dead --endpoint midtrans --rate 20/s --yes
    """
    asked = query_events(
        find=find,
        status=status,
        endpoint=endpoint,
        upstream=upstream,
        key=key,
        since=since,
        until=until,
    )
    if limit is not None and limit < 1:
        raise typer.BadParameter(f"--limit: {limit} is not a number from 1 on")
    if ids:
        asked = _named(ids, asked, limit, to)
    elif asked == Query():
        raise typer.BadParameter("name events, or filter them, such as --status dead")
    elif not (yes or dry_run or _asks()):
        raise typer.BadParameter("a filter may match many events; add --yes")
    order = Order(asked, to, rate, limit)
    try:
        order.interval()
    except ValueError as error:
        raise typer.BadParameter(f"--{error}") from None
    settings = load_settings(config)
    order = with_event_ids(settings, partial(_whole, order=order))
    counted = _count(settings, order)
    if dry_run:
        _print_count(counted, form)
        sys.exit(0 if counted.events else 1)
    question = _question(order, counted)
    if question is not None and not yes and _asks():
        typer.confirm(question, abort=True, err=True)
    outcome = _Outcome()
    try:
        with progress("requeued", counted.events) as counter:
            with_spool(settings, lambda spool: _requeue(spool, order, settings, counter, outcome))
    except KeyboardInterrupt:
        complain(f"interrupted: {len(outcome.ids):,} of {counted.events:,} are requeued")
        sys.exit(INTERRUPTED)
    sys.exit(_print(order, outcome.requeued(), settings, endpoint, form))


def _named(ids: Sequence[str], asked: Query, limit: int | None, to: str | None) -> Query:
    """Return the query for named events; an upstream narrows it to that destination.

    Raises:
        typer.BadParameter: it is narrowed otherwise, too.
    """
    if asked != Query(upstream=asked.upstream) or limit is not None:
        raise typer.BadParameter("name events or filter them, not both")
    if asked.upstream is not None and to is not None:
        raise typer.BadParameter("--upstream says which destination, --to adds one; give one")
    return replace(asked, ids=tuple(dict.fromkeys(ids)))


async def _whole(spool: Spool, order: Order) -> Order:
    """Return the order with the ids in it whole."""
    ids = [await whole_id(spool, event_id) for event_id in order.query.ids]
    return replace(order, query=replace(order.query, ids=tuple(dict.fromkeys(ids))))


def _asks() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _count(settings: Settings, order: Order) -> Requeueable:
    """Return what would be done; exit 1 where it goes to an upstream that is not configured."""
    try:
        return with_spool(
            settings, lambda spool: requeueing.count(spool, order, settings.upstreams)
        )
    except UnknownUpstream as unknown:
        complain(str(unknown))
        sys.exit(1)


def _print_count(counted: Requeueable, form: Format) -> None:
    shown = requeueing.counted_json(counted)
    if form is Format.JSON:
        print_json(shown)
        return
    rows = [{**each, "status": each["status"] or "new"} for each in shown["destinations"]]  # type: ignore[attr-defined]
    print_rows(("upstream", "status", "number"), rows)
    complain(f"{counted.events:,} events would be requeued; nothing was done")


def _question(order: Order, counted: Requeueable) -> str | None:
    """Return what to ask a person before; None where nothing is unusual."""
    if order.query.ids:
        if not counted.overtaken:
            return None
        told = ", ".join(counted.overtaken)
        return (
            f"A later event about the same was delivered since: {told}. It goes out marked"
            " Relay-Out-Of-Order. Requeue?"
        )
    if not counted.events:
        return None
    names = sorted({upstream for upstream, _ in counted.destinations})
    pace = "" if order.rate is None else f" at {order.rate}"
    noun = "event" if counted.events == 1 else "events"
    return f"Requeue {counted.events:,} {noun} to {', '.join(names)}{pace}?"


async def _requeue(
    spool: Spool, order: Order, settings: Settings, counter: Counter, outcome: _Outcome
) -> None:
    """Requeue page after page; what has been done is on record, also where it is interrupted."""
    began = SystemClock().now()

    def add(page: Requeued) -> None:
        outcome.add(page)
        counter.add(len(page.ids))

    try:
        await requeueing.requeue(spool, order, settings.upstreams, began, add)
    finally:
        if outcome.ids:
            touched = order.touched(len(outcome.ids), outcome.ids)
            await record_act(spool, "requeue", **touched)


def _print(
    order: Order, done: Requeued, settings: Settings, endpoint: str | None, form: Format
) -> int:
    """Print what came of it; return the exit code."""
    if not done.ids:
        warn_unknown_names(endpoint, settings, order.query.upstream)
    if form is Format.JSON:
        print_json({"requeued": list(done.ids)})
    else:
        print_table(("requeued",), [(event_id,) for event_id in done.ids])
    left = {*done.damaged, *(event_id for event_id, _ in done.unserved)}
    left |= set(order.query.ids) - set(done.ids)
    if not order.query.ids and not done.ids and not left:
        complain("nothing requeued: no dead, held or delivered event with a body matches")
    for event_id in sorted(left):
        what = "not requeued everywhere" if event_id in done.ids else "not requeued"
        complain(f"{event_id}: {what}: {requeueing.problem(event_id, done, order)}")
    return 1 if left or not done.ids else 0
