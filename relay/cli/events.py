"""`relay events`: list, show, export and requeue events of the spool, beside a running relay."""

import sys
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from relay.admin.event_csv import csv_event, csv_heading
from relay.admin.serializers import (
    event_detail,
    event_summary,
    events_json,
    exported_event,
    why_gone,
)
from relay.admin.short_ids import whole_id
from relay.cli.common import (
    AFTER,
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
    warn_unknown_names,
    with_event_ids,
    with_spool,
)
from relay.cli.erase import erase
from relay.cli.event_text import print_event
from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_json,
    print_line,
    print_page,
    print_text,
    with_references,
    with_upstreams,
)
from relay.cli.progress import Counter, progress
from relay.cli.requeue import requeue
from relay.cli.tail import tail
from relay.core.redaction import NOTHING, Redactions
from relay.core.request import Keep
from relay.spool import Spool
from relay.spool.history import Page, Query

app = typer.Typer(no_args_is_help=True, help="History of events, and putting them back.")

#: Events of one page of an export.
_PAGE = 100


@app.command("list")
def list_events(
    config: CONFIG = DEFAULT_CONFIG,
    *,
    find: FIND = None,
    status: STATUS = None,
    endpoint: ENDPOINT = None,
    upstream: UPSTREAM = None,
    key: KEY = None,
    since: SINCE = None,
    until: UNTIL = None,
    limit: LIMIT = None,
    after: AFTER = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """List events, newest first.

    Example: relay events list --find ORDER-1042 --since yesterday
    """
    asked = query_events(
        find=find,
        status=status,
        endpoint=endpoint,
        upstream=upstream,
        key=key,
        since=since,
        until=until,
        limit=limit,
        after=after,
    )

    settings = load_settings(config)

    async def page(spool: Spool) -> Page:
        return await spool.page(asked)

    found = with_spool(settings, page)
    if not found.records:
        warn_unknown_names(endpoint, settings, upstream)
    if form is Format.JSON:
        print_json(events_json(found))
    else:
        columns = ("received_at", "endpoint", "status", "references", "key", "attempts")
        rows = (with_upstreams(with_references(event_summary(each))) for each in found.records)
        print_page((*columns, "upstream", "id"), rows, found.next)


@app.command("show")
def show(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],
    config: CONFIG = DEFAULT_CONFIG,
    form: FORMAT = Format.TEXT,
) -> None:
    """Show everything about one event, its body included.

    Example: relay events show evt_01a22c5159487189afa3c915d1ecc349
    """

    async def read(spool: Spool) -> tuple[dict[str, object], str] | None:
        whole = await whole_id(spool, event_id)
        found = await spool.get(whole)
        if found is None:
            return None
        redaction = settings.redactions().get(found[0].endpoint, NOTHING)
        detail = event_detail(*found, await spool.attempts(whole), redaction)
        return detail, why_gone(found[0])

    settings = load_settings(config)
    shown = with_event_ids(settings, read)
    if shown is None:
        complain(f"no event {event_id}")
        sys.exit(1)
    detail, gone = shown
    if form is Format.JSON:
        print_json(detail)
    else:
        print_event(detail, gone=gone)


class ExportFormat(StrEnum):
    """What an export is."""

    JSONL = "jsonl"
    CSV = "csv"


@app.command("export")
def export(
    config: CONFIG = DEFAULT_CONFIG,
    *,
    find: FIND = None,
    status: STATUS = None,
    endpoint: ENDPOINT = None,
    upstream: UPSTREAM = None,
    key: KEY = None,
    since: SINCE = None,
    until: UNTIL = None,
    limit: LIMIT = None,
    form: Annotated[ExportFormat, typer.Option("--format", help="jsonl or csv")] = (
        ExportFormat.JSONL
    ),
) -> None:
    """Print events with their bodies, newest first.

    jsonl: one JSON object a line, bodies in Base64. csv: for spreadsheets, bodies as text; nothing
    in it is a formula, and what cannot be seen is escaped.

    Example: relay events export --endpoint midtrans > events.jsonl
    """
    if limit is not None and limit < 1:
        raise typer.BadParameter(f"--limit: {limit} is not a number from 1 on")
    asked = query_events(
        find=find,
        status=status,
        endpoint=endpoint,
        upstream=upstream,
        key=key,
        since=since,
        until=until,
    )
    settings = load_settings(config)
    with progress("exported", limit, prints=True) as counter:
        number, unkept = with_spool(
            settings,
            lambda spool: _export(spool, asked, limit, counter, settings.redactions(), form=form),
        )
    if not number:
        warn_unknown_names(endpoint, settings, upstream)
    if unkept:
        complain(f"{unkept} of {number} are exported without their body: `keep` of their endpoint")
        sys.exit(1)


async def _export(
    spool: Spool,
    asked: Query,
    limit: int | None,
    counter: Counter,
    redactions: Redactions,
    *,
    form: ExportFormat,
) -> tuple[int, int]:
    """Print page after page; return the number of events, and of those without a body by `keep`.

    Events received meanwhile are newer than the first page, and are not printed.
    """
    left, number, unkept = limit, 0, 0
    if form is ExportFormat.CSV:
        print_text(csv_heading())
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = await spool.page(replace(asked, limit=size))
        for record in page.records:
            found = await spool.get(record.id)
            # Retention may have removed it since the page was read.
            if found is not None:
                redaction = redactions.get(record.endpoint, NOTHING)
                if form is ExportFormat.CSV:
                    print_text(csv_event(*found, redaction))
                else:
                    print_line(exported_event(*found, redaction))
                unkept += found[0].removed in {Keep.HEADERS, Keep.NONE}
            counter.add()
        number += len(page.records)
        if page.next is None:
            break
        asked = replace(asked, after=page.next)
        left = None if left is None else left - len(page.records)
    return number, unkept


app.command("requeue")(requeue)
app.command("tail")(tail)
app.command("erase")(erase)
