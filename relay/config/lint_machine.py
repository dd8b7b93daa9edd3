"""Warnings about the machine: addresses that cannot be listened on, directories not to be written.

Does I/O, unlike the other rules: a socket is bound for a moment, and `/proc` says who holds a port.
"""

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from relay.config.lint_topology import Advice
from relay.config.settings import Settings, SqliteSpool
from relay.config.types import Bind
from relay.config.yaml_document import Location, shown_path

#: What a socket that cannot listen fails with, and the code of the warning.
BIND_ERRORS: Final = {
    errno.EADDRINUSE: "port-taken",
    errno.EACCES: "port-forbidden",
    errno.EADDRNOTAVAIL: "address-missing",
}
_LISTENING: Final = "0A"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
_FIRST_FREE: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
#: Seconds that a relay on this machine may take to say that it runs.
_TIMEOUT: Final = 1.0


def machine_advice(settings: Settings) -> Iterator[Advice]:
    """Yield warnings about this machine, as the user of this process finds it.

    Nothing is said of ports while a relay with this admin listener runs: they are its own.
    """
    if not _runs(settings.admin.bind):
        yield from port_advice(settings)
    yield from _directories(settings)


def port_advice(settings: Settings) -> Iterator[Advice]:
    """Yield the addresses that this process could not listen on now, and why."""
    for location, bind in settings.binds():
        error = _error_of(bind)
        if error is not None and error.errno in BIND_ERRORS:
            yield Advice(location, BIND_ERRORS[error.errno], cannot_listen(error.errno, bind))


def cannot_listen(number: int, bind: Bind) -> str:
    """Return what is wrong with an address, by the error of `bind`, and what to do about it."""
    said = os.strerror(number).lower()
    if number == errno.EADDRNOTAVAIL:
        return f'{said}: this machine has no {bind.host}; "0.0.0.0" and "[::]" are all that it has'
    if number == errno.EACCES:
        return (
            f"{said}: port {bind.port} is below {_first_free()}, and takes root or"
            " CAP_NET_BIND_SERVICE, which the systemd unit in deploy/ gives; or listen above, and"
            " let a proxy in front forward"
        )
    holder = _holder(bind.port)
    who = "a process that this user may not see (ss -ltnp as root shows it)"
    return f"{said}: {holder or who} has port {bind.port}; stop that, or write another port"


def _error_of(bind: Bind) -> OSError | None:
    """Bind a socket as a listener would, and close it; return what it failed with."""
    family = socket.AF_INET if bind.address.version == 4 else socket.AF_INET6  # noqa: PLR2004
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((bind.host, bind.port))
    except OSError as error:
        return error
    return None


def _runs(admin: Bind) -> bool:
    """Return whether a relay answers at this admin listener."""
    if not admin.port:
        return False
    with closing(HTTPConnection(admin.from_here.host, admin.port, timeout=_TIMEOUT)) as connection:
        try:
            connection.request("GET", "/livez")
            return bool(connection.getresponse().status == 200)  # noqa: PLR2004
        except (OSError, HTTPException):
            return False


def _first_free() -> int:
    try:
        return int(_FIRST_FREE.read_text())
    except (OSError, ValueError):
        return 1024


def _holder(port: int) -> str | None:
    """Return the process that listens on a port, where this user may see it."""
    inodes = set(_inodes(port))
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                found = _SOCKET.fullmatch(str(descriptor.readlink()))
                if found is not None and found[1] in inodes:
                    name = (process / "comm").read_text().strip()
                    return f"{shown_path(Path(name))} (process {process.name})"
    return None


def _inodes(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on a port."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _directories(settings: Settings) -> Iterator[Advice]:
    places: list[tuple[Location, Path, int]] = [
        (("state_dir",), settings.state_dir, os.W_OK | os.X_OK)
    ]
    if isinstance(settings.spool, SqliteSpool):
        file = settings.spool.path
        places.insert(0, (("spool", "path"), file.parent, os.W_OK | os.X_OK))
        if os.access(file, os.F_OK, effective_ids=True):
            places.insert(0, (("spool", "path"), file, os.R_OK | os.W_OK))
    told: set[Path] = set()
    for location, path, how in places:
        if path not in told and not os.access(path, how, effective_ids=True):
            told.add(path)
            message = f"this user may not write {shown_path(path)}; relay has to run as one who may"
            yield Advice(location, "not-writable", message)
