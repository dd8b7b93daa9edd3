"""relay as it is measured: `relay run` with a configuration as an operator writes it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import messages
from tests.bench.machine import SERVER_CORE
from tests.bench.processes import Program, free_port

#: As many attempts at a time as wrk has connections.
CONCURRENCY: Final = 64


@dataclass(frozen=True, slots=True)
class Onward:
    """Where the Midtrans notifications of a node go.

    names: the upstreams. keys: what each has besides its URL and its concurrency, as YAML. routes:
    those of the endpoint, as YAML. tls: the port is spoken TLS to.
    """

    names: tuple[str, ...] = ("billing",)
    keys: str = ""
    routes: str = ""
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A relay's configuration, and where it will listen. Start it as often as needed."""

    name: str
    config: Path
    port: int
    admin_port: int

    def program(
        self,
        prefix: tuple[str | Path, ...] = (),
        role: str = "all",
        what: tuple[str | Path, ...] = ("-m", "relay"),
    ) -> Program:
        """Return the process.

        prefix: what runs it, in place of the interpreter. what: the arguments of that; a script
        in place of relay itself.
        """
        return Program(
            self.name,
            [
                *(prefix or (sys.executable,)),
                *what,
                *("run", "--role", role, "-c", self.config),
            ],
            port=self.port,
            core=SERVER_CORE,
            # Two lines an event, from every server of the run: the disk is there for the spools.
            log=Path("/dev/null"),
        )


def write_node(
    name: str,
    directory: Path,
    *,
    mode: str,
    upstream: int,
    snap_key: Path | None,
    onward: Onward = Onward(),
) -> Node:
    """Write a configuration into a new directory below this one, where the spool will be too.

    mode: `store` or `proxy`, of every endpoint. upstream: the port of all of them.
    """
    home = directory / name
    home.mkdir()
    node = Node(name, home / "relay.yaml", free_port(), free_port())
    snap = "" if snap_key is None else _snap(mode, snap_key)
    node.config.write_text(f"""\
listen: [{{bind: "127.0.0.1:{node.port}"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:{node.admin_port}"}}
spool: {{path: relay.db}}
upstreams:
{_upstreams(onward, upstream)}
endpoints:
  - name: midtrans
    path: {messages.PATH}
    provider: midtrans
    environment: production
    secrets: ["{messages.MIDTRANS_KEY}"]
    {_goes_to(onward)}
    mode: {mode}
  - name: vipps
    path: {messages.VIPPS_PATH}
    provider: vipps
    environment: production
    secrets: ["{messages.VIPPS_SECRET}"]
    upstream: billing
    mode: {mode}
    public_url: "{messages.VIPPS_URL}"
    # The addresses of Vipps come from DNS, and there is none here.
    allowlist: {{replace: ["{messages.VIPPS_CLIENT}/32"]}}
{snap}""")
    return node


def _upstreams(onward: Onward, port: int) -> str:
    scheme = "https" if onward.tls else "http"
    url = f'url: "{scheme}://127.0.0.1:{port}/hooks"'
    more = f", {onward.keys}" if onward.keys else ""
    return "\n".join(
        f"  {name}: {{{url}, concurrency: {CONCURRENCY}{more}}}" for name in onward.names
    )


def _goes_to(onward: Onward) -> str:
    one, *others = onward.names
    # As every version writes it that knows one alone.
    to = f"upstreams: [{', '.join(onward.names)}]" if others else f"upstream: {one}"
    return f"{to}\n    routes: {onward.routes}" if onward.routes else to


def _snap(mode: str, key: Path) -> str:
    return f"""\
  - name: snap
    path: {messages.SNAP_PREFIX}
    provider: midtrans-snap
    environment: production
    secrets: ["${{file:{key}}}"]
    upstream: billing
    mode: {mode}
"""
