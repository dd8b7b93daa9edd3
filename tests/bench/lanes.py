"""What is compared: a lane is one kind of message to one server."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.bench import stubbed
from tests.bench.node import write_node
from tests.bench.processes import Program
from tests.bench.rivals import programs


class Kind(StrEnum):
    """Whose message it is."""

    MIDTRANS = "midtrans"
    SNAP = "snap"
    VIPPS = "vipps"


@dataclass(frozen=True, slots=True)
class Site:
    """Where servers are started.

    upstream: its port. snap_key: a file, if SNAP is measured. against: another checkout, with its
    own `.venv`.
    """

    directory: Path
    upstream: int
    snap_key: Path | None
    against: Path | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of the result.

    server: lanes of the same server share one process.
    delivers: what it acknowledges comes out at the upstream, sooner or later.
    repeats: the same message may come again, since nothing is compared with what came before.
    destinations: how often each comes out at the upstream.
    """

    name: str
    title: str
    server: str
    delivers: bool
    kind: Kind = Kind.MIDTRANS
    repeats: bool = False
    destinations: int = 1


def _relay(name: str, site: Site) -> Program:
    node = write_node(
        name, site.directory, mode=name, upstream=site.upstream, snap_key=site.snap_key
    )
    return node.program()


def _accept(name: str, site: Site) -> Program:
    node = write_node(
        name, site.directory, mode="store", upstream=site.upstream, snap_key=site.snap_key
    )
    return node.program(what=(Path(stubbed.__file__),))


def _before(name: str, site: Site) -> Program:
    assert site.against is not None
    mode = name.removesuffix("-before")
    node = write_node(name, site.directory, mode=mode, upstream=site.upstream, snap_key=None)
    # Without -P, Python would take relay from where this runs.
    return node.program(prefix=(site.against / ".venv/bin/python", "-P"))


def _rival(start: Callable[[str, Path, int], Program]) -> Callable[[str, Site], Program]:
    return lambda name, site: start(name, site.directory, site.upstream)


#: How each server is started. Each may raise `NotInstalled`.
SERVERS: Final[dict[str, Callable[[str, Site], Program]]] = {
    "bare": _rival(programs.bare),
    "twin": _rival(programs.bare),
    "store": _relay,
    "proxy": _relay,
    "accept": _accept,
    "store-before": _before,
    "proxy-before": _before,
    "fastapi-sqlite": _rival(programs.fastapi_sqlite),
    "fastapi-proxy": _rival(programs.fastapi_proxy),
    "caddy": _rival(programs.caddy),
    "nginx-njs": _rival(programs.nginx_njs),
    "nginx-lua": _rival(programs.nginx_lua),
    "haproxy": _rival(programs.haproxy),
}

#: The reference, and what differs from it in nothing.
REFERENCE: Final = "bare"
TWIN: Final = "twin"

LANES: Final = (
    Lane("bare", "bare aiohttp server: reads, answers", "bare", delivers=False),
    Lane("twin", "its twin, the control", "twin", delivers=False),
    Lane("store", "relay, store: until delivered", "store", delivers=True),
    Lane("proxy", "relay, proxy", "proxy", delivers=True),
    Lane("accept", "relay, accept: the spool stubbed", "accept", delivers=False),
    Lane("fastapi-sqlite", "FastAPI + SQLite, delivers nothing", "fastapi-sqlite", delivers=False),
    Lane("fastapi-proxy", "FastAPI + aiohttp client", "fastapi-proxy", delivers=True),
    Lane("caddy", "Caddy, verifies nothing", "caddy", delivers=True),
    Lane("nginx-njs", "nginx + njs", "nginx-njs", delivers=True),
    Lane("nginx-lua", "nginx + lua", "nginx-lua", delivers=True),
    Lane("haproxy", "HAProxy", "haproxy", delivers=True),
    Lane("store-snap", "relay, store: SNAP (RSA)", "store", True, Kind.SNAP),
    Lane("proxy-snap", "relay, proxy: SNAP (RSA)", "proxy", True, Kind.SNAP, repeats=True),
    Lane("store-vipps", "relay, store: Vipps (HMAC)", "store", True, Kind.VIPPS),
    Lane("proxy-vipps", "relay, proxy: Vipps (HMAC)", "proxy", True, Kind.VIPPS, repeats=True),
    Lane("accept-snap", "relay, accept: SNAP (RSA)", "accept", False, Kind.SNAP, repeats=True),
    Lane("accept-vipps", "relay, accept: Vipps (HMAC)", "accept", False, Kind.VIPPS, repeats=True),
)

#: What another checkout makes of the same, measured in the same rounds.
BEFORE: Final = (
    Lane("store-before", "relay before, store", "store-before", delivers=True),
    Lane("proxy-before", "relay before, proxy", "proxy-before", delivers=True),
)
