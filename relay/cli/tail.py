"""`relay events tail`: what happens at the running relay, a line each, while it happens."""

import asyncio
import http.client
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import orjson
import typer

from relay.cli import process
from relay.cli.common import (
    CONFIG,
    DEFAULT_CONFIG,
    ENDPOINT,
    STATUS,
    UPSTREAM,
    load_admin_settings,
    load_settings,
    warn_unknown_names,
)
from relay.cli.output import FORMAT, Format, complain, print_line
from relay.cli.running_relay import ANOTHER_TOKEN, NotAsked, bearer
from relay.config import Admin
from relay.core.clock import SystemClock
from relay.core.errors import ConfigError
from relay.core.event import Status
from relay.core.visible_text import visible

#: Seconds without a sign of life after which a connection counts as lost: two heartbeats and more.
_TIMEOUT: Final = 40.0
#: Seconds between tries to come back.
_RETRY: Final = 1.0

#: What ends a stream: relay stops, or this listener is too slow.
_DROPPED: Final = "dropped"


def tail(
    config: CONFIG = DEFAULT_CONFIG,
    *,
    endpoint: ENDPOINT = None,
    status: STATUS = None,
    upstream: UPSTREAM = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """Print deliveries, attempts and acts while they happen, until Ctrl-C.

    With --status, attempts after which their event has this status. When relay restarts, this
    comes back by itself, and says so.

    Example: relay events tail --endpoint midtrans
    """
    if status is not None and status not in set(Status):
        raise typer.BadParameter(f'no status "{status}"; there are: {", ".join(Status)}')
    given = {"endpoint": endpoint, "status": status, "upstream": upstream}
    query = urlencode({name: value for name, value in given.items() if value is not None})
    admin = load_admin_settings(config)
    # Who waits for what never comes would not know why; mistakes elsewhere in the file stop nobody.
    with suppress(ConfigError):
        warn_unknown_names(endpoint, load_settings(config), upstream, "nothing is shown")
    try:
        for kind, fields in _happenings(admin, f"/api/v1/stream?{query}"):
            if form is Format.JSON:
                print_line({"kind": kind, **fields})
            else:
                sys.stdout.write(line(kind, fields, person=sys.stdout.isatty()) + "\n")
            sys.stdout.flush()
    except NotAsked as error:
        complain(f"relay events tail: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:
        # Its reader wants no more.
        process.flush()


# ---- listening ------------------------------------------------------------------------------


def _happenings(admin: Admin, target: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what happens, over as many connections as it takes.

    Raises:
        NotAsked: there is no relay to listen to, or it does not let us.
    """
    connection, response = _connect(admin, target)
    while True:
        lost = "the relay has ended the stream, or is gone"
        try:
            for kind, fields in _events(response):
                if kind == _DROPPED:
                    lost = "more has happened than was read, and some of it is left out"
                    break
                yield kind, fields
        except (OSError, http.client.HTTPException):
            pass  # As when it ends.
        finally:
            connection.close()
        complain(f"relay events tail: {lost}; waiting for it to come back")
        connection, response = _reconnect(admin, target)
        complain("relay events tail: it is back")


def _reconnect(
    admin: Admin, target: str
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    while True:
        try:
            return _connect(admin, target)
        except NotAsked as error:
            if str(error) == ANOTHER_TOKEN:
                raise
        asyncio.run(SystemClock().sleep(_RETRY))


def _connect(
    admin: Admin, target: str
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Return a connection on which the stream has begun, and its answer."""
    headers = {"Authorization": bearer(admin, reads=True)}
    host = admin.bind.from_here.host
    connection = http.client.HTTPConnection(host, admin.bind.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        if response.status == HTTPStatus.OK:
            return connection, response
        said = response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        cause = error.strerror if isinstance(error, OSError) else None
        message = f"no relay answers at {admin.bind} (admin.bind): {cause or 'that is none'}"
        raise NotAsked(message) from None
    connection.close()
    if response.status == HTTPStatus.UNAUTHORIZED:
        raise NotAsked(ANOTHER_TOKEN)
    raise NotAsked(f"the relay at {admin.bind} does not stream: {_error(said, response.status)}")


def _error(said: bytes, status: int) -> str:
    try:
        return str(orjson.loads(said)["error"])
    except (ValueError, LookupError, TypeError):
        return f"it answers {status}"


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and fields of each event until the answer ends."""
    kind = ""
    while text := response.readline():
        name, _, value = text.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, orjson.loads(value)


# ---- a line each ----------------------------------------------------------------------------


def line(kind: str, fields: Mapping[str, Any], *, person: bool) -> str:
    """Return one happening as a line. person: for reading, with local time; else with tabs."""
    at = datetime.fromisoformat(fields["at"])
    time = f"{at.astimezone():%H:%M:%S}" if person else fields["at"]
    cells = [time, kind, *_cells(kind, fields)]
    shown = [visible("" if cell is None else str(cell)) for cell in cells]
    return "  ".join(filter(None, shown)) if person else "\t".join(shown)


def _cells(kind: str, fields: Mapping[str, Any]) -> list[object]:
    match kind:
        case "delivery":
            said = fields["reason"] or fields["verdict"]
            if fields.get("upstreams") == []:
                said += " (goes nowhere)"
            names = ("endpoint", "client", "key", "id")
            return [said, fields["code"], *(fields[name] for name in names)]
        case "attempt":
            said = fields["code"] or fields["cause"]
            names = ("endpoint", "upstream", "number", "id")
            return [fields["status"] or "lost", said, *(fields[name] for name in names)]
        case "act":
            touched = orjson.dumps(fields["touched"]).decode()
            return [fields["act"], fields["actor"], fields["address"], touched]
        case "reload":
            return ["taken" if fields["taken"] else "refused"]
    return [orjson.dumps(fields).decode()]
