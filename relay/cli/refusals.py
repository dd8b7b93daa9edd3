"""`relay refusals`: list, show and release kept refusals, beside a running relay.

A release verifies the kept bytes under the configuration file.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from relay.admin.serializers import (
    parse_refusal_query,
    refusal_detail,
    refusal_summary,
    refusals_json,
    release_json,
)
from relay.app import builder
from relay.cli.common import (
    AFTER,
    CONFIG,
    DEFAULT_CONFIG,
    ENDPOINT,
    LIMIT,
    REASON,
    load_settings,
    query,
    record_act,
    warn_unknown_endpoint,
    with_spool,
)
from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_details,
    print_json,
    print_page,
    print_rows,
)
from relay.cli.progress import progress
from relay.config import Settings
from relay.ingest.refusals import RefusalReleaser
from relay.spool.refusals import RefusalPage

app = typer.Typer(
    no_args_is_help=True,
    help="Refused deliveries of allowed senders, and releasing them.",
)

T = TypeVar("T")


@app.command("list")
def list_refusals(
    config: CONFIG = DEFAULT_CONFIG,
    *,
    endpoint: ENDPOINT = None,
    reason: REASON = None,
    limit: LIMIT = None,
    after: AFTER = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """List what was refused, the last first.

    Example: relay refusals list --reason signature_mismatch
    """
    asked = query(parse_refusal_query, limit=limit, endpoint=endpoint, reason=reason, after=after)
    settings = load_settings(config)

    async def page(releaser: RefusalReleaser) -> RefusalPage:
        return await releaser.store.page(asked)

    found = _with_releaser(settings, page)
    if not found.refusals:
        warn_unknown_endpoint(endpoint, settings)
    if form is Format.JSON:
        print_json(refusals_json(found))
    else:
        names = "received_at endpoint reason client signature_fits times released_as id"
        print_page(names.split(), map(refusal_summary, found.refusals), found.next)


@app.command("show")
def show(
    refusal_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the refusal.")],
    config: CONFIG = DEFAULT_CONFIG,
    form: FORMAT = Format.TEXT,
) -> None:
    """Show everything about one refusal, its body included.

    Example: relay refusals show ref_01a22c5159487189afa3c915d1ecc349
    """
    settings = load_settings(config)
    found = _with_releaser(settings, lambda releaser: releaser.store.get(refusal_id))
    if found is None:
        complain(f"no refusal {refusal_id}")
        sys.exit(1)
    detail = refusal_detail(found, settings.every_secret())
    if form is Format.JSON:
        print_json(detail)
    else:
        print_details(detail, ("method", "target"), gone="removed: it is an event now")


@app.command("release")
def release(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of refusals.")],
    config: CONFIG = DEFAULT_CONFIG,
    form: FORMAT = Format.TEXT,
) -> None:
    """Verify refusals anew, under the present configuration; those that pass become events.

    One whose signature fits, and whose address alone was unknown, passes whatever its address:
    look at it first. Exit 0 when all of them are events now, 1 when one is not.

    Example: relay refusals release ref_01a22c5159487189afa3c915d1ecc349
    """
    named = tuple(dict.fromkeys(ids))
    results: list[dict[str, object]] = []

    async def each(releaser: RefusalReleaser) -> None:
        for refusal_id in named:
            result = await releaser.release(refusal_id)
            results.append(release_json(refusal_id, result))
            if result is not None:
                act = {"refusal": refusal_id, "result": results[-1]["result"]}
                await record_act(releaser.spool, "release", **act)
            counter.add()

    with progress("released", len(named)) as counter:
        _with_releaser(load_settings(config), each)
    if form is Format.JSON:
        print_json({"refusals": results})
    else:
        print_rows(("id", "result", "event", "reason", "detail"), results)
    sys.exit(0 if all("event" in row for row in results) else 1)


def _with_releaser(settings: Settings, work: Callable[[RefusalReleaser], Awaitable[T]]) -> T:
    return with_spool(settings, lambda spool: work(builder.releaser(settings, spool)))
