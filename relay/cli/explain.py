"""`relay explain`: run a captured request through every step, and print the results."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from relay.cli.common import (
    CONFIG,
    DEFAULT_CONFIG,
    load_settings,
)
from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_json,
    print_table,
)
from relay.core.clock import SystemClock
from relay.core.request import Address
from relay.explain.capture import Captured, NotARequest, parse
from relay.explain.steps import Walk, walk_json
from relay.explain.walk import walk
from relay.ingest.client_address import unmap_ipv4


def explain(
    request: Annotated[str, typer.Argument(help="File with a raw HTTP/1.1 request, or - .")],
    *,
    config: CONFIG = DEFAULT_CONFIG,
    peer: Annotated[
        str | None, typer.Option("--peer", help="Address that connected to the relay.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="When it was received; now, if not given.")
    ] = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """Walk a captured request through every step; exit 0 when it would be accepted, else 1.

    A PROXY header before the request says who connected to the proxy.
    Nothing is stored, sent or looked up, and no secret is shown.

    Example: relay explain captured.http --peer 127.0.0.1
    """
    settings = load_settings(config)
    found = walk(settings, _read_capture(request), _address(peer), _time(at))
    print_walk(found, walk_json(found), form)
    sys.exit(0 if found.reason is None else 1)


def print_walk(found: Walk, told: Mapping[str, object], form: Format) -> None:
    """Print a walk, which is `told` in JSON."""
    if form is Format.JSON:
        print_json(told)
        return
    rows = [(step.name, step.result, step.detail) for step in found.steps]
    rows += [("nearest", "-", said) for said in found.nearest]
    rows.append(("verdict", "ok" if found.reason is None else "no", _verdict_text(found)))
    print_table(("step", "result", "detail"), rows)


def _verdict_text(found: Walk) -> str:
    if found.reason is not None:
        return f"refuse, {found.reason.value}"
    if found.health:
        return "answered 200, and no delivery"
    if found.is_challenge:
        return "answered 200, and no event"
    verdict = "accept" if found.client_known else "accept, from an allowed address"
    goes = found.destinations
    return f"{verdict}, and deliver nowhere" if goes and not goes.upstreams else verdict


def _read_capture(name: str) -> Captured:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        complain(f"{name}: {error.strerror}")
        sys.exit(2)
    try:
        return parse(data)
    except NotARequest as error:
        complain(f"{name}:{error.line}:1: {error}")
        sys.exit(2)


def _address(text: str | None) -> Address | None:
    if text is None:
        return None
    try:
        return unmap_ipv4(ip_address(text))
    except ValueError:
        raise typer.BadParameter(f'--peer: "{text}" is no IP address') from None


def _time(text: str | None) -> datetime:
    if text is None:
        return SystemClock().now()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f'--at: "{text}" is no time; write it as 2026-01-31T08:00:00Z or 2026-01-31'
        raise typer.BadParameter(message) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
