"""`relay audit`: what people did by page, API and command line, as the spool keeps it."""

import json
import sys
from collections.abc import Mapping
from functools import partial
from typing import Annotated

import typer

from relay.admin.audit_json import act_json, audit_json, parse_audit_query
from relay.cli.common import CONFIG, DEFAULT_CONFIG, LIMIT, load_settings, query, with_spool
from relay.cli.output import FORMAT, Format, print_json, print_rows
from relay.core.clock import SystemClock
from relay.core.moments import FORMS
from relay.spool import Spool
from relay.spool.audit import Act, Actor


def _actors(incomplete: str) -> list[str]:
    return [actor.value for actor in Actor if actor.startswith(incomplete)]


def audit(
    config: CONFIG = DEFAULT_CONFIG,
    *,
    since: Annotated[
        str | None, typer.Option("--since", help=f"Done at this time or later: {FORMS}.")
    ] = None,
    actor: Annotated[
        str | None,
        typer.Option(
            "--actor",
            help="Only of a token, read_token, session, or cli: this machine's users.",
            autocompletion=_actors,
        ),
    ] = None,
    limit: LIMIT = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """List what people did, the last first: who, from where, and what it touched.

    Example: relay audit --actor cli --since yesterday
    """
    parse = partial(parse_audit_query, now=SystemClock().now())
    asked = query(parse, since=since, actor=actor, limit=limit)

    async def read(spool: Spool) -> tuple[Act, ...]:
        return await spool.audit.newest(asked.limit, since=asked.since, actor=asked.actor)

    found = with_spool(load_settings(config), read)
    if form is Format.JSON:
        print_json(audit_json(found))
    else:
        print_rows(("at", "act", "actor", "origin", "detail"), map(_row, found))


def _row(act: Act) -> Mapping[str, object]:
    shown = act_json(act)
    # Blanks in it are where a terminal folds it.
    separators = (", ", ": ") if sys.stdout.isatty() else (",", ":")
    detail = json.dumps(shown["detail"], ensure_ascii=False, separators=separators)
    return {**shown, "detail": detail}
