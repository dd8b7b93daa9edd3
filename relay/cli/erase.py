"""`relay events erase`: remove for good what is stored of a person."""

import sys
from typing import Annotated

import typer

from relay.cli.common import CONFIG, DEFAULT_CONFIG, load_settings, record_act, with_spool
from relay.cli.output import FORMAT, Format, complain, print_json, print_rows
from relay.cli.progress import Counter, progress
from relay.core.secret import MASK
from relay.spool import Spool
from relay.spool.erasure import Erasable, Traces, find_erasable

# Events that are erased together: writes wait behind them.
_STEP = 100


def erase(
    find: Annotated[
        str,
        typer.Option(
            "--find", metavar="TEXT", help="A whole reference, event key or id; no beginning."
        ),
    ],
    *,
    config: CONFIG = DEFAULT_CONFIG,
    include_undelivered: Annotated[
        bool,
        typer.Option("--include-undelivered", help="Also what is pending, held or dead for good."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; needed in a pipe.")] = False,
    form: FORMAT = Format.TEXT,
) -> None:
    """Erase what is stored of a person: bodies, header fields, references, keys, attempts.

    Kept refusals go, too. Ids, times and outcomes stay, and digests for knowing copies. What is not
    delivered stays unless that is asked for: it never is then. Exit 1 when something stayed.

    Example: relay events erase --find ORDER-2026-0042
    """
    if not find:
        raise typer.BadParameter("--find: write what to look for")
    asks = sys.stdin.isatty() and sys.stderr.isatty()
    if not (yes or asks):
        raise typer.BadParameter("what is erased does not come back; add --yes")
    settings = load_settings(config)
    found = with_spool(settings, lambda spool: find_erasable(spool, find))
    _hint(found)
    if not (found.events or found.refusals):
        complain("nothing erased: it is no whole reference, key or id of anything here")
        sys.exit(1)
    if asks and not yes:
        typer.confirm(_question(found, everything=include_undelivered), abort=True, err=True)
    with progress("erased", len(found.events)) as counter:
        erased = with_spool(
            settings,
            lambda spool: _erase(spool, find, found, counter, everything=include_undelivered),
        )
    left = [(each, status) for each, status in found.events if each not in erased]
    if form is Format.JSON:
        print_json(
            {
                "erased": list(erased),
                "refusals": len(found.refusals),
                "left": [{"id": event_id, "status": status.value} for event_id, status in left],
                "beginnings": found.beginnings,
            }
        )
    else:
        print_rows(("erased",), [{"erased": event_id} for event_id in erased])
        complain(
            f"{_number(len(erased), 'event')} and {_number(len(found.refusals), 'refusal')} erased"
        )
    for event_id, status in left:
        complain(f"{event_id}: not erased: it is {status.value}; {_WAY_OUT}")
    sys.exit(1 if left else 0)


_TRACES = {
    Traces.LOG: "something reads the spool: its write-ahead log holds it until that ends",
    Traces.FILE: "the file still holds the text: in something else that is stored, or in parts that"
    " nothing uses; deploy/README.md says how to write it anew",
}

_WAY_OUT = "deliver it first, or add --include-undelivered, and it never is delivered"


def _hint(found: Erasable) -> None:
    if found.beginnings:
        complain(f"{_number(found.beginnings, 'more event')} only begin with it, and stay")


def _question(found: Erasable, *, everything: bool) -> str:
    events, refusals = len(found.events), len(found.refusals)
    undelivered = found.undelivered
    told = ", ".join(f"{number:,} {status.value}" for status, number in undelivered.items())
    unsaid = ""
    if told:
        unsaid = (
            f" Of these are {told}: they are {'never delivered then' if everything else 'left'}."
        )
    return f"Erase {_number(events, 'event')} and {_number(refusals, 'refusal')} for good?{unsaid}"


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


async def _erase(
    spool: Spool, find: str, found: Erasable, counter: Counter, *, everything: bool
) -> tuple[str, ...]:
    """Erase a few at a time; return the ids of the events."""
    ids = [event_id for event_id, _ in found.events]
    erased: list[str] = []
    refusals = found.refusals
    for at in range(0, max(len(ids), 1), _STEP):
        some = ids[at : at + _STEP]
        done = await spool.erasure.erase(some, refusals, undelivered=everything)
        # What was looked for is what has to be forgotten.
        await record_act(spool, "erase", find=MASK, events=list(done), refusals=len(refusals))
        erased += done
        refusals = ()
        counter.add(len(some))
    traces = await spool.erasure.finish(find)
    if traces is not Traces.NONE:
        complain(_TRACES[traces])
    return tuple(erased)
