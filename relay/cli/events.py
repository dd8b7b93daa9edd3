"""`relay events`: history, and putting events back. Works while the relay runs."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from relay.assembly import existing_spool
from relay.cli.options import CONFIG, FORMAT, load_settings
from relay.cli.output import Format, complain, print_json, print_line, print_table
from relay.history import detail, exported, page_json, parse_query, summary
from relay.spool import Page, Query, Spool

app = typer.Typer(no_args_is_help=True, help="History of events, and putting them back.")

T = TypeVar("T")

#: How many events an export reads at a time.
_PAGE = 100

STATUS = Annotated[str | None, typer.Option("--status", help="Only events of this status.")]
ENDPOINT = Annotated[str | None, typer.Option("--endpoint", help="Only events of this endpoint.")]
KEY = Annotated[str | None, typer.Option("--key", help="Only events with this event key.")]
SINCE = Annotated[str | None, typer.Option("--since", help="Received at this time or later.")]
UNTIL = Annotated[str | None, typer.Option("--until", help="Received before this time.")]
LIMIT = Annotated[int | None, typer.Option("--limit", help="At most this many.")]


@app.command("list")
def list_events(
    config: CONFIG = Path("relay.yaml"),
    *,
    status: STATUS = None,
    endpoint: ENDPOINT = None,
    key: KEY = None,
    since: SINCE = None,
    until: UNTIL = None,
    limit: LIMIT = None,
    after: Annotated[str | None, typer.Option("--after", help="`next` of the page before.")] = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """List events, newest first."""
    query = _query(
        status=status,
        endpoint=endpoint,
        key=key,
        since=since,
        until=until,
        limit=limit,
        after=after,
    )

    async def page(spool: Spool) -> Page:
        return await spool.page(query)

    found = _with_spool(config, page)
    if form is Format.JSON:
        print_json(page_json(found))
        return
    columns = ("received_at", "endpoint", "status", "key", "attempts", "upstream", "id")
    print_table(
        columns,
        [[summary(record)[column] for column in columns] for record in found.records],
    )
    if found.next is not None:
        complain(f"there are more: --after {found.next}")


@app.command("show")
def show(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],
    config: CONFIG = Path("relay.yaml"),
    form: FORMAT = Format.TEXT,
) -> None:
    """Show everything about one event, its body included."""
    found = _with_spool(config, lambda spool: spool.get(event_id))
    if found is None:
        complain(f"no event {event_id}")
        sys.exit(1)
    shown = detail(*found)
    if form is Format.JSON:
        print_json(shown)
        return
    content = shown.pop("content")
    rows = [item for item in shown.items() if item[1] is not None]
    if isinstance(content, dict):
        rows += [(name, content[name]) for name in ("environment", "method", "signed")]
        rows += [(f"header {name}", value) for name, value in content["headers"]]
        rows.append(("body", content["body"]))
    else:
        rows.append(("body", "removed; see spool.retain"))
    print_table(("field", "value"), rows)


@app.command("export")
def export(
    config: CONFIG = Path("relay.yaml"),
    *,
    status: STATUS = None,
    endpoint: ENDPOINT = None,
    key: KEY = None,
    since: SINCE = None,
    until: UNTIL = None,
    limit: LIMIT = None,
) -> None:
    """Print events with their bodies, newest first: one JSON object a line, bodies in Base64."""
    if limit is not None and limit < 1:
        raise typer.BadParameter(f"--limit: {limit} is not a number from 1 on")
    query = _query(status=status, endpoint=endpoint, key=key, since=since, until=until, limit=None)
    _with_spool(config, lambda spool: _export(spool, query, limit))


async def _export(spool: Spool, query: Query, limit: int | None) -> None:
    """Print page after page; what is received meanwhile is newer, and is not among them."""
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = await spool.page(replace(query, limit=size))
        for record in page.records:
            found = await spool.get(record.id)
            # One that was removed since the page was read is in history no more.
            if found is not None:
                print_line(exported(*found))
        if page.next is None:
            return
        query = replace(query, after=page.next)
        left = None if left is None else left - len(page.records)


@app.command("requeue")
def requeue(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    *,
    config: CONFIG = Path("relay.yaml"),
    status: STATUS = None,
    endpoint: ENDPOINT = None,
    key: KEY = None,
    since: SINCE = None,
    until: UNTIL = None,
    limit: LIMIT = None,
    yes: Annotated[bool, typer.Option("--yes", help="Needed to requeue by filter.")] = False,
    form: FORMAT = Format.TEXT,
) -> None:
    """Put dead, held or delivered events back, with a fresh retry schedule."""
    query = _query(status=status, endpoint=endpoint, key=key, since=since, until=until, limit=limit)
    if ids:
        if query != Query():
            raise typer.BadParameter("name events or filter them, not both")
        query = Query(ids=tuple(ids))
    elif query == Query(limit=query.limit):
        raise typer.BadParameter("name events, or filter them, such as --status dead")
    elif not yes:
        raise typer.BadParameter("a filter may match many events; add --yes")
    done = _with_spool(config, lambda spool: _requeue(spool, query, every=limit is None))
    if form is Format.JSON:
        print_json({"requeued": list(done)})
    else:
        print_table(("requeued",), [(event_id,) for event_id in done])
    left = set(ids or ()) - set(done)
    for event_id in sorted(left):
        complain(f"{event_id}: not requeued; only dead, held and delivered events with a body can")
    sys.exit(1 if left or not done else 0)


async def _requeue(spool: Spool, query: Query, *, every: bool) -> list[str]:
    """Requeue a page, or page after page until no new event matches; return the ids."""
    done: dict[str, None] = {}
    while True:
        page = await spool.requeue(query)
        new = [event_id for event_id in page if event_id not in done]
        done |= dict.fromkeys(new)
        # One that comes again was delivered meanwhile: all others have had their turn.
        if not every or len(new) < query.limit:
            return list(done)


def _query(*, limit: int | None, **filters: str | None) -> Query:
    given: Mapping[str, str] = {name: text for name, text in filters.items() if text is not None}
    try:
        return parse_query(given if limit is None else {**given, "limit": str(limit)})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _with_spool(config: Path, work: Callable[[Spool], Awaitable[T]]) -> T:
    settings = load_settings(config)

    async def run() -> T:
        spool = await existing_spool(settings)
        try:
            return await work(spool)
        finally:
            await spool.close()

    try:
        return asyncio.run(run())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
