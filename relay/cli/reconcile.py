"""`relay reconcile`: ask a provider's status API about a list of orders, and report."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer

from relay.app import builder
from relay.app.spools import existing_spool
from relay.cli import completion, process
from relay.cli.common import (
    CONFIG,
    DEFAULT_CONFIG,
    load_settings,
    unknown_endpoint,
)
from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_json,
    print_table,
)
from relay.cli.progress import progress
from relay.config import Endpoint, Settings
from relay.core.clock import SystemClock
from relay.core.errors import RelayError
from relay.ingest import reconcile as reconciling
from relay.ingest.reconcile import Checkpoint, ReconcileResult, Result

_MAX_LIST_BYTES = 64 * 1024 * 1024

# Invalid lines that are reported: about a screen.
_MAX_LINES = 50


def reconcile(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Order ids, one a line; - is standard input.")
    ] = "-",
    *,
    endpoint: Annotated[
        str,
        typer.Option(
            "--endpoint",
            help="The endpoint they belong to.",
            autocompletion=completion.endpoints,
        ),
    ],
    config: CONFIG = DEFAULT_CONFIG,
    again: Annotated[
        bool, typer.Option("--again", help="Ask also about what was answered in the last day.")
    ] = False,
    form: FORMAT = Format.TEXT,
) -> None:
    """Ask for the status of orders, and store what is learnt as events marked reconciled.

    Ctrl-C ends it with a report of what was done, and 130; run again, it goes on from there.

    Example: relay reconcile --endpoint midtrans orders.txt
    """
    settings = load_settings(config)
    chosen = _endpoint(settings, endpoint)
    try:
        listed = _read_orders(file)
    except KeyboardInterrupt:
        complain("relay reconcile: interrupted; nothing was asked")
        sys.exit(process.INTERRUPTED)
    checkpoint = Checkpoint(settings.state_dir / f"reconcile-{endpoint}.jsonl", SystemClock())
    if again:
        checkpoint.clear()
    answered = checkpoint.load()
    remaining = [order for order in listed if order not in answered]
    results: list[ReconcileResult] = []
    stopped, code = None, 0
    try:
        asyncio.run(_ask(settings, chosen, remaining, checkpoint, results))
    except RelayError as error:
        # The results until then are reported all the same.
        stopped, code = str(error), 1
    except KeyboardInterrupt:
        stopped, code = "interrupted", process.INTERRUPTED
    _report(endpoint, listed, len(listed) - len(remaining), results, form)
    if stopped is not None:
        complain(f"relay reconcile: {stopped}; {_left_over(len(remaining) - len(results))}")
    failed = any(each.result is Result.ERROR for each in results)
    sys.exit(code or (1 if failed else 0))


def _left_over(remaining: int) -> str:
    return (
        f"{remaining} orders are left; run it again with the same list to go on,"
        " and what was answered within the last day is not asked about again"
    )


def _endpoint(settings: Settings, name: str) -> Endpoint:
    for each in settings.endpoints:
        if each.name == name:
            if (problem := builder.unanswerable(each)) is not None:
                raise typer.BadParameter(f"{name}: {problem}")
            return each
    raise typer.BadParameter(unknown_endpoint(name, (each.name for each in settings.endpoints)))


def _read_orders(file: str) -> tuple[str, ...]:
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


async def _ask(
    settings: Settings,
    endpoint: Endpoint,
    remaining: Sequence[str],
    checkpoint: Checkpoint,
    results: list[ReconcileResult],
) -> None:
    """Ask about these orders; append each result to `results` as it comes."""
    async with AsyncExitStack() as stack:
        spool = await existing_spool(settings)
        stack.push_async_callback(spool.close)
        reconciler = builder.reconciler(endpoint, spool, SystemClock(), stack)
        counter = stack.enter_context(progress(endpoint.name, len(remaining)))
        for order in remaining:
            one = await reconciler.reconcile(order)
            results.append(one)
            if one.result is not Result.ERROR:
                checkpoint.add(order)
            counter.add()


def _report(
    endpoint: str,
    listed: Sequence[str],
    skipped: int,
    results: Sequence[ReconcileResult],
    form: Format,
) -> None:
    counts = Counter(each.result for each in results)
    report = {
        "endpoint": endpoint,
        "orders": len(listed),
        "skipped": skipped,
        "found": counts[Result.NEW] + counts[Result.KNOWN],
        "new": counts[Result.NEW],
        "known": counts[Result.KNOWN],
        "not_found": counts[Result.NOT_FOUND],
        "errors": counts[Result.ERROR],
        "left": len(listed) - skipped - len(results),
    }
    if form is Format.JSON:
        listing = [
            {
                "order": each.order,
                "result": each.result.value,
                "event": each.event,
                "detail": each.detail,
            }
            for each in results
        ]
        print_json(report | {"learnt": listing})
        return
    print_table(tuple(report), [tuple(report.values())])
    for each in results:
        if each.result is Result.ERROR:
            complain(f"{each.order}: {each.detail}")
