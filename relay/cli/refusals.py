"""`relay refusals`: list, show, explain and release kept refusals, beside a running relay.

A release verifies the kept bytes under the configuration file.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from relay.admin.serializers import (
    parse_refusal_query,
    parse_stranger_query,
    refusal_detail,
    refusal_summary,
    refusals_json,
    release_json,
    strangers_json,
)
from relay.admin.short_ids import AmbiguousId, whole_id
from relay.app import builder
from relay.cli.common import (
    AFTER,
    CONFIG,
    DEFAULT_CONFIG,
    ENDPOINT,
    FIND,
    LIMIT,
    REASON,
    load_settings,
    query,
    record_act,
    warn_unknown_names,
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
    with_references,
)
from relay.cli.progress import progress
from relay.config import Settings
from relay.core.redaction import NOTHING
from relay.ingest.refusals import RefusalReleaser
from relay.spool.refusals import RefusalPage, StoredRefusal

app = typer.Typer(
    no_args_is_help=True,
    help="Refused deliveries of allowed senders, and releasing them.",
)

ID = Annotated[str, typer.Argument(metavar="ID", help="Id of the refusal, or how no other begins.")]


T = TypeVar("T")


@app.command("list")
def list_refusals(
    config: CONFIG = DEFAULT_CONFIG,
    *,
    find: FIND = None,
    endpoint: ENDPOINT = None,
    reason: REASON = None,
    limit: LIMIT = None,
    after: AFTER = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """List what was refused, the last first.

    Example: relay refusals list --find ORDER-1042
    """
    asked = query(
        parse_refusal_query, limit=limit, find=find, endpoint=endpoint, reason=reason, after=after
    )
    settings = load_settings(config)

    async def page(releaser: RefusalReleaser) -> RefusalPage:
        return await releaser.store.page(asked)

    found = _with_releaser(settings, page)
    if not found.refusals:
        warn_unknown_names(endpoint, settings)
    if form is Format.JSON:
        print_json(refusals_json(found))
    else:
        names = "received_at endpoint reason references client signature_fits times released_as id"
        rows = map(with_references, map(refusal_summary, found.refusals))
        print_page(names.split(), rows, found.next)


@app.command("show")
def show(
    refusal_id: ID,
    config: CONFIG = DEFAULT_CONFIG,
    form: FORMAT = Format.TEXT,
) -> None:
    """Show everything about one refusal, its body included.

    Example: relay refusals show ref_01a22c5159487189afa3c915d1ecc349
    """
    settings = load_settings(config)
    found = _stored(settings, refusal_id)
    redaction = settings.redactions().get(found.refused.endpoint, NOTHING)
    detail = refusal_detail(found, settings.every_secret(), redaction)
    if form is Format.JSON:
        print_json(detail)
    else:
        print_details(detail, ("method", "target"), gone="removed: it is an event now")


@app.command("explain")
def explain(
    refusal_id: ID,
    config: CONFIG = DEFAULT_CONFIG,
    form: FORMAT = Format.TEXT,
) -> None:
    """Walk one refusal through every step again; exit 0 when it would be accepted, else 1.

    The configuration file decides, as of the time when it was received. What is not kept of it, and
    so not judged, is named. Nothing is stored, sent or looked up, and no secret is shown.

    Example: relay refusals explain ref_01a22c5159487189afa3c915d1ecc349
    """
    # The other verbs start faster without it.
    from relay.cli.explain import print_walk  # noqa: PLC0415
    from relay.explain.refusal import refusal_walk_json, walk_refusal  # noqa: PLC0415

    settings = load_settings(config)
    stored = _stored(settings, refusal_id)
    found = walk_refusal(settings, stored)
    print_walk(found, refusal_walk_json(stored, found), form)
    sys.exit(0 if found.reason is None else 1)


@app.command("strangers")
def strangers(
    config: CONFIG = DEFAULT_CONFIG,
    *,
    endpoint: ENDPOINT = None,
    limit: LIMIT = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """List addresses that were refused since no list holds them, the last seen first.

    Those whose signature fitted come before all others: they may be a sender that has moved. An
    IPv6 network of 64 bits is one row.

    Example: relay refusals strangers --endpoint midtrans
    """
    asked = query(parse_stranger_query, limit=limit, endpoint=endpoint)
    settings = load_settings(config)
    found = strangers_json(with_spool(settings, lambda spool: spool.strangers.find(asked)))
    if not found["strangers"]:
        warn_unknown_names(endpoint, settings)
    if form is Format.JSON:
        print_json(found)
    else:
        names = "last_at first_at times signature_fits endpoint path network address"
        print_rows(names.split(), found["strangers"])


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


def _stored(settings: Settings, beginning: str) -> StoredRefusal:
    """Return the refusal whose id this is, or begins like this; end with 1 without one."""

    async def find(releaser: RefusalReleaser) -> StoredRefusal | AmbiguousId | None:
        try:
            return await releaser.store.get(await whole_id(releaser.store, beginning, "refusals"))
        except AmbiguousId as error:
            return error

    found = _with_releaser(settings, find)
    if not isinstance(found, StoredRefusal):
        complain(f"no refusal {beginning}" if found is None else str(found))
        sys.exit(1)
    return found


def _with_releaser(settings: Settings, work: Callable[[RefusalReleaser], Awaitable[T]]) -> T:
    return with_spool(settings, lambda spool: work(builder.releaser(settings, spool)))
