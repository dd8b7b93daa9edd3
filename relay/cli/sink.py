"""`relay sink`: an HTTP service to develop against, which prints each request and answers it."""

import asyncio
import logging
import os
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from hmac import compare_digest
from typing import Annotated, Final

import typer
from aiohttp import web

from relay.cli import process
from relay.cli.output import Format, complain, print_line
from relay.config.lint_machine import BIND_ERRORS, cannot_listen
from relay.config.types import Bind, bind, duration_or_zero
from relay.core.clock import Clock, SystemClock
from relay.core.secret import Secret
from relay.core.strict_json import indented
from relay.core.visible_text import visible
from relay.signatures.shared_secret import Signer

#: Larger bodies are answered 413.
MAX_BODY: Final = 64 * 1024 * 1024
#: So many characters of a body are shown in a block; a JSON line has all of it.
_MAX_SHOWN: Final = 64 * 1024
#: How far `webhook-timestamp` may lie from now, in seconds, as Standard Webhooks has it.
_TOLERANCE: Final = 300

_UNAUTHORIZED, _TOO_LARGE = 401, 413
#: Their answers have no body (RFC 9110, 15.3.5, 15.3.6 and 15.4.5).
_BODILESS: Final = frozenset({204, 205, 304})


class Signature(StrEnum):
    """What became of the check of a signature."""

    FITS = "fits"
    WRONG = "does not fit"
    MISSING = "missing"
    OUTSIDE = "too old or too new"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. `signature` is None where no secret was given, `status` what is answered."""

    at: datetime
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    signature: Signature | None
    status: int

    def value(self, name: str) -> str | None:
        """Return the first header field of this name, in any case of letters."""
        return next((value for key, value in self.headers if key.lower() == name), None)


# ---- the service ----------------------------------------------------------------------------


class Sink:
    """Prints and answers every request. `stopped` is set when nothing can be printed any more.

    signer: with the secret of the relay's upstream; a request whose signature does not fit is
    answered 401. delay: seconds between the end of a request and its answer.
    """

    def __init__(
        self, form: Format, *, status: int, delay: float, signer: Signer | None, clock: Clock
    ) -> None:
        self._form = form
        self._status = status
        self._delay = delay
        self._signer = signer
        self._clock = clock
        self.stopped = asyncio.Event()
        self.failure: OSError | None = None

    @asynccontextmanager
    async def listening(self, where: Bind) -> AsyncIterator[str]:
        """Listen within this context; yields the URL.

        Raises:
            OSError: the address cannot be listened on.
        """
        # As it was sent: a signature covers the bytes on the wire.
        logger = logging.Logger("relay.sink")  # noqa: LOG001 - of this server alone
        logger.addHandler(_InOneLine())
        server = web.Server(self._take, access_log=None, logger=logger, auto_decompress=False)
        runner = web.ServerRunner(server, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, where.host, where.port).start()
            port = runner.addresses[0][1]
            yield f"http://{Bind(where.address, port)}/"
        finally:
            await runner.cleanup()

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        body = bytearray()
        async for part in request.content.iter_any():
            body += part
            if len(body) > MAX_BODY:
                return web.Response(status=_TOO_LARGE)
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
        )
        arrival = self._judged(request.method, request.raw_path, headers, bytes(body))
        try:
            if self._form is Format.JSON:
                print_line(as_json(arrival))
            else:
                sys.stdout.write(block(arrival))
            sys.stdout.flush()
        except OSError as error:
            self.failure = error
            self.stopped.set()
        await asyncio.sleep(self._delay)
        text = None if arrival.status in _BODILESS else f"{arrival.status}\n"
        return web.Response(status=arrival.status, text=text)

    def _judged(
        self, method: str, target: str, headers: tuple[tuple[str, str], ...], body: bytes
    ) -> Arrival:
        found = Arrival(self._clock.now(), method, target, headers, body, None, self._status)
        if self._signer is None:
            return found
        signature = verified(self._signer, found)
        status = self._status if signature is Signature.FITS else _UNAUTHORIZED
        return replace(found, signature=signature, status=status)


class _InOneLine(logging.Handler):
    """Prints what the server says of requests that are no HTTP, or end early, without a trace."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        said = f"relay sink: {record.getMessage()}" + (f": {error}" if error is not None else "")
        complain(" ".join(said.split()))


def verified(signer: Signer, arrival: Arrival) -> Signature:
    """Check a request as Standard Webhooks says: id, time and body are signed."""
    event_id, time = arrival.value("webhook-id"), arrival.value("webhook-timestamp")
    given = arrival.value("webhook-signature")
    if event_id is None or time is None or given is None:
        return Signature.MISSING
    if not (time.isascii() and time.isdigit()) or len(time) > len(str(2**63)):
        return Signature.WRONG
    wanted = signer.sign(event_id, int(time), arrival.body).split()
    if not any(
        compare_digest(one.encode(), each.encode()) for one in given.split() for each in wanted
    ):
        return Signature.WRONG
    age = arrival.at.timestamp() - int(time)
    return Signature.FITS if abs(age) <= _TOLERANCE else Signature.OUTSIDE


# ---- what is printed ------------------------------------------------------------------------


def as_json(arrival: Arrival) -> dict[str, object]:
    """Return a request as one JSON object; a body that is no UTF-8 text is in `body_base64`."""
    attempt = arrival.value("relay-attempt")
    told: dict[str, object] = {
        "received_at": arrival.at.isoformat(),
        "id": arrival.value("webhook-id"),
        "endpoint": arrival.value("relay-endpoint"),
        "key": arrival.value("relay-event-key"),
        "attempt": int(attempt) if attempt is not None and attempt.isdecimal() else None,
        "signature": arrival.signature,
        "status": arrival.status,
        "method": arrival.method,
        "target": arrival.target,
        "headers": arrival.headers,
    }
    try:
        told["body"] = arrival.body.decode()
    except UnicodeDecodeError:
        told["body_base64"] = b64encode(arrival.body).decode()
    return told


def block(arrival: Arrival) -> str:
    """Return a request as a block for people: what was asked, header fields, indented body.

    Nothing in it steers a terminal.
    """
    time = f"{arrival.at.astimezone():%H:%M:%S}"
    lines = [visible(f"{time}  {arrival.method} {arrival.target}  answered {arrival.status}")]
    if arrival.signature is not None:
        lines.append(f"  signature: {arrival.signature}")
    lines += [visible(f"  {name}: {value}") for name, value in arrival.headers]
    if arrival.body:
        text = indented(arrival.body) or arrival.body.decode(errors="backslashreplace")
        cut = text[:_MAX_SHOWN]
        lines += ["", *(visible(f"  {line}") for line in cut.splitlines())]
        if len(cut) < len(text):
            lines.append(f"  … and {len(text) - len(cut)} more characters")
    return "\n".join([*lines, "", ""])


# ---- the verb -------------------------------------------------------------------------------


def sink(
    *,
    at: Annotated[
        str, typer.Option("--bind", help="Address and port to listen on.")
    ] = "127.0.0.1:8081",
    status: Annotated[
        int, typer.Option("--status", min=200, max=599, help="What every request is answered.")
    ] = 200,
    delay: Annotated[str, typer.Option("--delay", help="How long an answer takes: 500ms, 2s.")] = (
        "0s"
    ),
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            envvar="RELAY_SINK_SECRET",
            help="One of the upstream's signing_secrets: what is not signed with it is answered"
            " 401.",
        ),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="text: a block a request. json: a line. Default: text on a terminal."
        ),
    ] = None,
) -> None:
    """Serve as an upstream to develop against: print each request, and answer it.

    Ctrl-C ends it.

    Example: relay sink --status 503 --delay 2s
    """
    try:
        where = bind(at)
    except ValueError as error:
        raise typer.BadParameter(f"--bind: {error}") from None
    try:
        seconds = duration_or_zero(delay).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(f"--delay: {error}") from None
    try:
        signer = None if secret is None else Signer([Secret(secret)])
    except ValueError as error:
        raise typer.BadParameter(f"--secret: {error}") from None
    chosen = form or (Format.TEXT if sys.stdout.isatty() else Format.JSON)
    try:
        asyncio.run(_serve(where, chosen, status, seconds, signer))
    except OSError as error:
        # asyncio's own text repeats the address; without a number it is the text that says what.
        why = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in BIND_ERRORS:
            why = cannot_listen(error.errno, where)
        complain(f"relay sink: {where}: {why}")
        sys.exit(1)


async def _serve(
    where: Bind, form: Format, status: int, delay: float, signer: Signer | None
) -> None:
    serving = Sink(form, status=status, delay=delay, signer=signer, clock=SystemClock())
    async with serving.listening(where) as url:
        complain(f"listening on {url}; Ctrl-C ends")
        with process.stop_signals(serving.stopped.set):
            await serving.stopped.wait()
    if serving.failure is not None and not isinstance(serving.failure, BrokenPipeError):
        raise serving.failure
