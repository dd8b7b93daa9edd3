"""`relay upstreams`: list, pause and resume upstreams, beside a running relay or without one."""

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import typer

from relay.admin.upstream_rows import called_with, works_for
from relay.admin.upstreams import (
    PAUSED_BY_FILE,
    PauseResult,
    UnknownUpstream,
    pause,
    read_rows,
    resume,
)
from relay.cli import completion
from relay.cli.common import CONFIG, DEFAULT_CONFIG, load_settings, record_act, with_spool
from relay.cli.output import FORMAT, Format, complain, print_json, print_rows
from relay.cli.running_relay import NotAsked, ask
from relay.config import Endpoint, Settings
from relay.core.clock import SystemClock
from relay.spool import Spool
from relay.spool.audit import Actor

app = typer.Typer(no_args_is_help=True, help="Your services: what waits for them, and pausing.")

NAME = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of the upstream.", autocompletion=completion.upstreams
    ),
]

_OK: Final = 200


@app.command("list")
def list_upstreams(config: CONFIG = DEFAULT_CONFIG, form: FORMAT = Format.TEXT) -> None:
    """List the upstreams: what waits for each, its circuit breaker, and whether it is paused.

    Of the running relay where it can be asked; else of the spool, which knows no breakers.

    Example: relay upstreams list
    """
    settings = load_settings(config)
    rows = _from_relay(settings)
    if rows is None:
        rows = with_spool(settings, lambda spool: _from_spool(settings, spool))
    if form is Format.JSON:
        print_json({"upstreams": rows})
        return
    columns = ("name", "paused", "breaker", "backlog", "oldest_at", "url", "called_with", "for")
    print_rows(columns, map(_shown, rows))


def _shown(row: dict[str, Any]) -> dict[str, object]:
    texts = {"called_with": called_with(row), "for": works_for(row)}
    return {**row, **texts, "paused": "yes" if row["paused"] else "no"}


@app.command("pause")
def pause_upstream(name: NAME, config: CONFIG = DEFAULT_CONFIG, form: FORMAT = Format.TEXT) -> None:
    """Deliver nothing to an upstream until it is resumed. Events wait, also through a restart.

    A running relay notices within a second; attempts under way end as they would.

    Example: relay upstreams pause billing
    """
    settings = load_settings(config)

    async def work(spool: Spool) -> PauseResult:
        return await pause(spool, settings.upstreams, name, Actor.CLI, SystemClock().now())

    done = _act(settings, "pause", work)
    passed_on = [each.name for each in settings.endpoints if _passes_on(each, name)]
    if passed_on:
        listed = ", ".join(passed_on)
        complain(f"what {listed} passes on (mode: proxy) is still passed on: its sender waits")
    if form is Format.JSON:
        print_json(done.json())
    elif done.changed:
        sys.stdout.write(f"{name} is paused; resume it with `relay upstreams resume {name}`\n")
    else:
        sys.stdout.write(f"{name} was paused already\n")


@app.command("resume")
def resume_upstream(
    name: NAME, config: CONFIG = DEFAULT_CONFIG, form: FORMAT = Format.TEXT
) -> None:
    """Deliver to a paused upstream again: what waits goes out at once.

    Exit 1 where the configuration file pauses it: no command ends that.

    Example: relay upstreams resume billing
    """
    settings = load_settings(config)
    done = _act(settings, "resume", lambda spool: resume(spool, settings.upstreams, name))
    if form is Format.JSON:
        print_json(done.json())
    elif not done.by_file:
        sys.stdout.write(f"{name} is resumed\n" if done.changed else f"{name} was not paused\n")
    if done.by_file:
        complain(f"{name} stays paused: {PAUSED_BY_FILE}")
        sys.exit(1)


def _act(
    settings: Settings, act: str, work: Callable[[Spool], Awaitable[PauseResult]]
) -> PauseResult:
    """Pause or resume, and keep that on record; exit 1 where there is no such upstream."""

    async def recorded(spool: Spool) -> PauseResult:
        done = await work(spool)
        await record_act(spool, act, upstream=done.upstream)
        return done

    try:
        return with_spool(settings, recorded)
    except UnknownUpstream as unknown:
        complain(str(unknown))
        sys.exit(1)


def _passes_on(endpoint: Endpoint, upstream: str) -> bool:
    return endpoint.mode == "proxy" and upstream in endpoint.every_upstream


def _from_relay(settings: Settings) -> list[dict[str, Any]] | None:
    """Return what the running relay says; None where none can be asked."""
    try:
        answer = ask(settings.admin, "/api/v1/upstreams", method="GET")
    except NotAsked:
        return None
    found = answer.content.get("upstreams") if answer.status == _OK else None
    return found if isinstance(found, list) else None


async def _from_spool(settings: Settings, spool: Spool) -> list[dict[str, Any]]:
    now = SystemClock().now()
    return await read_rows(spool, settings.upstreams, settings.endpoints, {}, now)
