"""`relay reconcile`: ask about orders whose notifications may never have come."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from relay.app import standalone
from relay.app.spools import existing_spool
from relay.cli.common import (
    CONFIG,
    DEFAULT_CONFIG,
    load_settings,
    no_endpoint,
)
from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_json,
    print_table,
)
from relay.config import Endpoint, Settings
from relay.core.clock import SystemClock
from relay.core.errors import RelayError
from relay.ingest import reconcile as reconciling
from relay.ingest.reconcile import Checkpoint, ReconcileResult, Result

_MAX_LIST_BYTES = 64 * 1024 * 1024

# As many lines that are wrong as fit on a screen.
_MAX_LINES = 50

# As a shell says that Ctrl-C ended a command.
_INTERRUPTED = 130


def reconcile(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Order ids, one a line; - is standard input.")
    ] = "-",
    *,
    endpoint: Annotated[str, typer.Option("--endpoint", help="The endpoint they belong to.")],
    config: CONFIG = DEFAULT_CONFIG,
    again: Annotated[
        bool, typer.Option("--again", help="Ask also about what was answered in the last day.")
    ] = False,
    form: FORMAT = Format.TEXT,
) -> None:
    """Ask for the status of orders, and store what is learnt as events marked reconciled.

    Ctrl-C ends it with a report of what was done, and 130; run again, it goes on from there.
    """
    settings = load_settings(config)
    chosen = _endpoint(settings, endpoint)
    try:
        listed = _listed(file)
    except KeyboardInterrupt:
        complain("relay reconcile: interrupted; nothing was asked")
        sys.exit(_INTERRUPTED)
    cache = Checkpoint(settings.state_dir / f"reconcile-{endpoint}.jsonl", SystemClock())
    if again:
        cache.clear()
    before = cache.load()
    left = [order for order in listed if order not in before]
    learnt: list[ReconcileResult] = []
    stopped, code = None, 0
    try:
        asyncio.run(_run(settings, chosen, left, cache, learnt))
    except RelayError as error:
        # What was learnt until then is told all the same.
        stopped, code = str(error), 1
    except KeyboardInterrupt:
        stopped, code = "interrupted", _INTERRUPTED
    _report(endpoint, listed, len(listed) - len(left), learnt, form)
    if stopped is not None:
        complain(f"relay reconcile: {stopped}; {_how_to_go_on(len(left) - len(learnt))}")
    failed = any(each.result is Result.ERROR for each in learnt)
    sys.exit(code or (1 if failed else 0))


def _how_to_go_on(left: int) -> str:
    return (
        f"{left} orders are left; run it again with the same list to go on, and what was answered"
        " within the last day is not asked about again"
    )


def _endpoint(settings: Settings, name: str) -> Endpoint:
    for each in settings.endpoints:
        if each.name == name:
            if (problem := standalone.unanswerable(each)) is not None:
                raise typer.BadParameter(f"{name}: {problem}")
            return each
    raise typer.BadParameter(no_endpoint(name, (each.name for each in settings.endpoints)))


def _listed(file: str) -> tuple[str, ...]:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(_MAX_LIST_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(_MAX_LIST_BYTES + 1)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {file}: {error.strerror}") from None
    if len(content) > _MAX_LIST_BYTES:
        raise typer.BadParameter("the list is larger than 64 MiB; split it")
    try:
        return reconciling.parse_orders(content)
    except reconciling.BadOrders as error:
        place = "standard input" if file == "-" else file
        for number, message in error.problems[:_MAX_LINES]:
            complain(f"{place}:{number}: {message}")
        if len(error.problems) > _MAX_LINES:
            complain(f"{place}: {len(error.problems) - _MAX_LINES} more lines are wrong")
        complain("relay reconcile: nothing was asked; mend these lines and run it again")
        raise typer.Exit(2) from None


async def _run(
    settings: Settings,
    endpoint: Endpoint,
    left: Sequence[str],
    cache: Checkpoint,
    learnt: list[ReconcileResult],
) -> None:
    """Ask about these orders; what is learnt is added to `learnt` as it comes."""
    async with AsyncExitStack() as stack:
        spool = await existing_spool(settings)
        stack.push_async_callback(spool.close)
        reconciler = standalone.reconciler(endpoint, spool, SystemClock(), stack)
        progress = stack.enter_context(_progress())
        task = progress.add_task(endpoint.name, total=len(left))
        for order in left:
            one = await reconciler.reconcile(order)
            learnt.append(one)
            if one.result is not Result.ERROR:
                cache.add(order)
            progress.advance(task)


def _progress() -> Progress:
    """Return a bar on standard error, where only a person sees it."""
    return Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )


def _report(
    endpoint: str,
    listed: Sequence[str],
    skipped: int,
    learnt: Sequence[ReconcileResult],
    form: Format,
) -> None:
    counts = Counter(each.result for each in learnt)
    report = {
        "endpoint": endpoint,
        "orders": len(listed),
        "skipped": skipped,
        "found": counts[Result.NEW] + counts[Result.KNOWN],
        "new": counts[Result.NEW],
        "known": counts[Result.KNOWN],
        "not_found": counts[Result.NOT_FOUND],
        "errors": counts[Result.ERROR],
        "left": len(listed) - skipped - len(learnt),
    }
    if form is Format.JSON:
        listing = [
            {
                "order": each.order,
                "result": each.result.value,
                "event": each.event,
                "detail": each.detail,
            }
            for each in learnt
        ]
        print_json(report | {"learnt": listing})
        return
    print_table(tuple(report), [tuple(report.values())])
    for each in learnt:
        if each.result is Result.ERROR:
            complain(f"{each.order}: {each.detail}")
