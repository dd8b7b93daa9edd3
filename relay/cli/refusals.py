"""`relay refusals`: what allowed senders were refused, and releasing it once it is mended.

Works while the relay runs. A release verifies the received bytes under the configuration file.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from relay.assembly import existing_spool
from relay.cli.options import CONFIG, FORMAT, load_settings
from relay.cli.output import Format, complain, print_json, print_table
from relay.kept import RefusalPage
from relay.mending import visiting_desk
from relay.refusals.desk import ReleaseDesk
from relay.refusals.shown import detail, page_json, parse_query, result_json, summary

app = typer.Typer(
    no_args_is_help=True,
    help="Refused deliveries of allowed senders, and releasing them.",
)

T = TypeVar("T")


@app.command("list")
def list_refusals(
    config: CONFIG = Path("relay.yaml"),
    *,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Only those of this endpoint.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only those refused for this reason.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="At most this many.")] = None,
    after: Annotated[str | None, typer.Option("--after", help="`next` of the page before.")] = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """List what was refused, the last first."""
    given = {
        "endpoint": endpoint,
        "reason": reason,
        "limit": None if limit is None else str(limit),
        "after": after,
    }
    try:
        query = parse_query({name: text for name, text in given.items() if text is not None})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None

    async def page(desk: ReleaseDesk) -> RefusalPage:
        return await desk.store.page(query)

    found = _at_desk(config, page)
    if form is Format.JSON:
        print_json(page_json(found))
        return
    columns = ("received_at", "endpoint", "reason", "client", "times", "released_as", "id")
    print_table(columns, [[summary(kept)[column] for column in columns] for kept in found.kept])
    if found.next is not None:
        complain(f"there are more: --after {found.next}")


@app.command("show")
def show(
    refusal_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the refusal.")],
    config: CONFIG = Path("relay.yaml"),
    form: FORMAT = Format.TEXT,
) -> None:
    """Show everything about one refusal, its body included."""
    found = _at_desk(config, lambda desk: desk.store.get(refusal_id))
    if found is None:
        complain(f"no refusal {refusal_id}")
        sys.exit(1)
    shown = detail(found)
    if form is Format.JSON:
        print_json(shown)
        return
    content = shown.pop("content")
    rows = [item for item in shown.items() if item[1] is not None]
    if isinstance(content, dict):
        rows += [(name, content[name]) for name in ("method", "target")]
        rows += [(f"header {name}", value) for name, value in content["headers"]]
        rows.append(("body", content["body"]))
    print_table(("field", "value"), rows)


@app.command("release")
def release(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of refusals.")],
    config: CONFIG = Path("relay.yaml"),
    form: FORMAT = Format.TEXT,
) -> None:
    """Verify refusals anew, under the present configuration; those that pass become events.

    Exit 0 when all of them are events now, 1 when one is not.
    """

    async def each(desk: ReleaseDesk) -> list[dict[str, object]]:
        return [
            result_json(refusal_id, await desk.release(refusal_id))
            for refusal_id in dict.fromkeys(ids)
        ]

    results = _at_desk(config, each)
    if form is Format.JSON:
        print_json({"refusals": results})
    else:
        columns = ("id", "result", "event", "reason", "detail")
        print_table(columns, [[row.get(column) for column in columns] for row in results])
    sys.exit(0 if all("event" in row for row in results) else 1)


def _at_desk(config: Path, work: Callable[[ReleaseDesk], Awaitable[T]]) -> T:
    settings = load_settings(config)

    async def run() -> T:
        spool = await existing_spool(settings)
        try:
            return await work(visiting_desk(settings, spool))
        finally:
            await spool.close()

    try:
        return asyncio.run(run())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
