"""`relay allowlist`: show the allowed networks, compare them with another list, export them.

DNS answers are read from the state file of the running relay; nothing is looked up.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
from netaddr import IPNetwork, IPSet

from relay.admin.serializers import change_json, entry_json
from relay.allowlist import Allowlist, Entry, Mode
from relay.allowlist.networks import merge, parse_network
from relay.app.builder import known_allowlists
from relay.cli.common import (
    CONFIG,
    DEFAULT_CONFIG,
    ENDPOINT,
    load_settings,
    unknown_endpoint,
)
from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_json,
    print_rows,
)
from relay.config.settings import Allowlist as AllowlistSettings
from relay.ingest.client_address import unmap_ipv4

# ---- exports for firewalls and proxies ------------------------------------------------------


class Dialect(StrEnum):
    """The format of an exported allowlist."""

    NFTABLES = "nftables"
    NGINX = "nginx"
    HAPROXY = "haproxy"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Allowed:
    """One endpoint and its allowed networks, merged so that none overlap."""

    endpoint: str
    mode: str
    networks: tuple[IPNetwork, ...]

    @property
    def open(self) -> bool:
        """Whether the relay admits every address, so that the list would refuse some of them."""
        return self.mode == Mode.OFF

    def of(self, version: int) -> list[str]:
        return [str(network) for network in self.networks if network.version == version]


def nftables(lists: Sequence[Allowed]) -> str:
    """Return a file for `nft -f`: two sets an endpoint, replaced in one transaction.

    Raises:
        ValueError: an endpoint admits every address; so with `nginx` and `haproxy`.
    """
    sets = [
        (f"{name}_v{version}", kind, allowed.of(version))
        for name, allowed in zip(_names(lists), lists, strict=True)
        for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr"))
    ]
    lines = ["table inet relay {"]
    for name, kind, _ in sets:
        lines.append(f"    set {name} {{ type {kind}; flags interval; }}")
    lines.append("}")
    for name, _, networks in sets:
        lines.append(f"flush set inet relay {name}")
        if networks:
            lines.append(f"add element inet relay {name} {{ {', '.join(networks)} }}")
    return _text(lists, lines)


def nginx(lists: Sequence[Allowed]) -> str:
    """Return variables for nginx's `http` block: 1 for an address that may send."""
    lines = []
    for name, allowed in zip(_names(lists), lists, strict=True):
        lines.append(f"geo $relay_{name} {{")
        # To nginx, a default and a network of everything are the same thing.
        if not any(network.prefixlen == 0 for network in allowed.networks):
            lines.append("    default 0;")
        lines += [f"    {network} 1;" for network in allowed.networks]
        lines.append("}")
    return _text(lists, lines)


def haproxy(lists: Sequence[Allowed]) -> str:
    """Return a pattern file for `acl NAME src -f FILE`. It holds one endpoint.

    Raises:
        ValueError: there are several endpoints; a pattern file holds one.
    """
    if len(lists) != 1:
        names = ", ".join(each.endpoint for each in lists)
        raise ValueError(f"a file for haproxy holds one endpoint; add --endpoint, one of {names}")
    return _text(lists, [str(network) for network in lists[0].networks])


def as_json(lists: Iterable[Allowed]) -> list[dict[str, object]]:
    """Return the lists as JSON, which `allowlist diff --against` reads."""
    return [
        {
            "endpoint": each.endpoint,
            "mode": each.mode,
            "networks": [str(network) for network in each.networks],
        }
        for each in lists
    ]


def _text(lists: Sequence[Allowed], lines: Sequence[str]) -> str:
    everybody = ", ".join(each.endpoint for each in lists if each.open)
    if everybody:
        raise ValueError(
            f'{everybody}: everybody may send (allowlist.mode: "off"), and this list would keep'
            " some out; write mode: enforce, or name another endpoint with --endpoint"
        )
    told = [f"# {each.endpoint}: {len(each.networks)} networks, mode {each.mode}" for each in lists]
    return "\n".join(["# Written by `relay allowlist export`.", *told, *lines, ""])


def _names(lists: Sequence[Allowed]) -> list[str]:
    """Return a name for each endpoint that is valid in every format; all are different."""
    names: list[str] = []
    for each in lists:
        name = re.sub(r"[^a-z0-9]", "_", each.endpoint.lower())
        name = name if name[0].isalpha() else f"endpoint_{name}"
        while name in names:
            name += "_"
        names.append(name)
    return names


# ---- comparing two lists by the addresses in them -------------------------------------------

#: The end of a line of a list: a comment, or the semicolon of nginx and nftables.
_COMMENT = re.compile(r"[#;].*")


@dataclass(frozen=True, slots=True)
class Difference:
    """A network of one list alone. `allowed`: it is the configuration's, not the other list's."""

    network: IPNetwork
    allowed: bool


class BadList(ValueError):
    """A list cannot be parsed. `line` and `column` count from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def differences(allowed: Sequence[IPNetwork], other: Sequence[IPNetwork]) -> list[Difference]:
    """Return the addresses of one list alone, in the fewest networks, allowed ones first."""
    ours, theirs = IPSet(allowed), IPSet(other)
    found = [Difference(network, allowed=True) for network in (ours - theirs).iter_cidrs()]
    return [
        *found,
        *(Difference(network, allowed=False) for network in (theirs - ours).iter_cidrs()),
    ]


def parse_list(text: str) -> list[IPNetwork] | dict[str, list[IPNetwork]]:
    """Parse a list of networks; or JSON written by `show` or `export`, into networks by endpoint.

    A list has one network a line, and comments after `#`.

    Raises:
        BadList: a line is no network; the message says what to write.
    """
    if text.lstrip().startswith("["):
        return _parse_json(text)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        word = _COMMENT.sub("", line).strip()
        if word:
            try:
                found.append(parse_network(word))
            except ValueError as error:
                raise BadList(number, line.index(word) + 1, str(error)) from None
    return found


def _parse_json(text: str) -> dict[str, list[IPNetwork]]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadList(error.lineno, error.colno, f"not JSON: {error.msg}") from None
    except (RecursionError, ValueError):
        raise BadList(1, 1, "no list of networks: too deep, or a number too long") from None
    found: dict[str, list[IPNetwork]] = {}
    for row in rows:
        endpoint, networks = _difference_row(row)
        try:
            found.setdefault(endpoint, []).extend(map(parse_network, networks))
        except ValueError as error:
            raise BadList(1, 1, f"{endpoint}: {error}") from None
    return found


def _difference_row(row: object) -> tuple[str, list[str]]:
    if isinstance(row, Mapping) and isinstance(row.get("endpoint"), str):
        networks = row["networks"] if "networks" in row else [row.get("network")]
        if isinstance(networks, list) and all(isinstance(each, str) for each in networks):
            return row["endpoint"], networks
    message = "not what `relay allowlist show` or `export` prints with --format json"
    raise BadList(1, 1, message)


# ---- verbs ----------------------------------------------------------------------------------

app = typer.Typer(no_args_is_help=True, help="Addresses that may send, endpoint by endpoint.")

_WRITERS = {Dialect.NFTABLES: nftables, Dialect.NGINX: nginx, Dialect.HAPROXY: haproxy}


@app.command("show")
def show(
    config: CONFIG = DEFAULT_CONFIG,
    endpoint: ENDPOINT = None,
    changes: Annotated[
        bool, typer.Option("--changes", help="Show which addresses came and went of late.")
    ] = False,
    form: FORMAT = Format.TEXT,
) -> None:
    """Show every network, where it is known from, and when it was first and last seen.

    With --changes: which addresses host names gained and lost, the last ones of each.

    Example: relay allowlist show --endpoint midtrans
    """
    chosen = _chosen(config, endpoint)
    if changes:
        _print_changes(chosen, form)
        return
    rows = [
        _row(name, entry)
        for name, (_, allowlist) in chosen.items()
        for entry in allowlist.entries()
    ]
    if form is Format.JSON:
        print_json(rows)
    else:
        columns = ("endpoint", "network", "origin", "host", "first_seen", "last_seen")
        print_rows(columns, rows)


def _print_changes(chosen: Mapping[str, tuple[Mode, Allowlist]], form: Format) -> None:
    rows = [
        {"endpoint": name} | change_json(change)
        for name, (_, allowlist) in chosen.items()
        for change in allowlist.changes()
    ]
    if form is Format.JSON:
        print_json(rows)
    else:
        print_rows(("at", "endpoint", "host", "change", "address"), rows)


@app.command("check")
def check(
    address: Annotated[str, typer.Argument(help="The address in question.")],
    config: CONFIG = DEFAULT_CONFIG,
    endpoint: ENDPOINT = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """Say whether this address may send; exit 0 when some endpoint admits it, 1 when none does.

    Example: relay allowlist check 103.208.23.6
    """
    try:
        client = unmap_ipv4(ip_address(address))
    except ValueError:
        raise typer.BadParameter(f'"{address}" is no IP address') from None
    rows: list[dict[str, object]] = []
    for name, (mode, allowlist) in _chosen(config, endpoint).items():
        entry = allowlist.match(client)
        admitted = entry is not None or mode is not Mode.ENFORCE
        found = _row(name, entry) if entry is not None else {"endpoint": name}
        rows.append(found | {"mode": mode.value, "admitted": admitted})
    if form is Format.JSON:
        print_json(rows)
    else:
        print_rows(("endpoint", "mode", "admitted", "network", "origin", "host"), rows)
    sys.exit(0 if any(row["admitted"] for row in rows) else 1)


@app.command("diff")
def diff(
    config: CONFIG = DEFAULT_CONFIG,
    against: Annotated[
        str | None,
        typer.Option("--against", help="File with another list, or - ; see `export`."),
    ] = None,
    endpoint: ENDPOINT = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """Say what is allowed here and not there, and the other way round.

    Compares with the provider's own lists and host names, or with a file: one network a line, or
    what `show` or `export` printed as JSON. Exit 0 when both allow the same addresses.

    Example: relay allowlist diff --against firewall.txt
    """
    chosen = _chosen(config, endpoint)
    if against is None:
        other = _provider_networks(config)
    else:
        other = _read_other(against, list(chosen), list(_chosen(config, None)))
    rows: list[dict[str, object]] = []
    for name, (_, allowlist) in chosen.items():
        mine = [entry.network for entry in allowlist.entries()]
        for each in differences(mine, other.get(name, [])):
            change = "allowed here alone" if each.allowed else "allowed there alone"
            rows.append({"endpoint": name, "network": str(each.network), "difference": change})
    if form is Format.JSON:
        print_json(rows)
    else:
        print_rows(("endpoint", "difference", "network"), rows)
    sys.exit(1 if rows else 0)


@app.command("export")
def export(
    config: CONFIG = DEFAULT_CONFIG,
    endpoint: ENDPOINT = None,
    dialect: Annotated[
        Dialect, typer.Option("--format", help="nftables, nginx, haproxy or json")
    ] = Dialect.JSON,
) -> None:
    """Print who may send in the words of a firewall or a proxy.

    An endpoint with allowlist.mode: off lets everybody in: no firewall gets a list for it.
    Host names stand for the addresses that DNS gave them last: export again as they change.
    Exit 1 when an endpoint has host names of which no address is known yet.

    Example: relay allowlist export --endpoint midtrans --format nftables
    """
    chosen = _chosen(config, endpoint)
    lists = [
        Allowed(name, mode.value, tuple(merge(entry.network for entry in allowlist.entries())))
        for name, (mode, allowlist) in chosen.items()
    ]
    if dialect is Dialect.JSON:
        print_json(as_json(lists))
    else:
        try:
            sys.stdout.write(_WRITERS[dialect](lists))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    for each in lists:
        if each.mode != Mode.ENFORCE:
            complain(
                f"{each.endpoint}: relay lets in everybody (allowlist.mode: {each.mode}), and"
                " whoever goes by this list does not"
            )
    unknown = {name: allowlist.unready() for name, (_, allowlist) in chosen.items()}
    for name, hosts in unknown.items():
        if hosts:
            complain(f"{name}: no addresses yet of {', '.join(hosts)}; they are missing here")
    sys.exit(1 if any(unknown.values()) else 0)


def _provider_networks(config: Path) -> dict[str, list[IPNetwork]]:
    """Return the networks that each endpoint would allow without `add` and `replace`."""
    settings = load_settings(config)
    plain_lists = settings.model_copy(
        update={
            "endpoints": tuple(
                each.model_copy(update={"allowlist": AllowlistSettings(mode=each.allowlist.mode)})
                for each in settings.endpoints
            )
        }
    )
    known = known_allowlists(plain_lists)
    return {
        name: [entry.network for entry in allowlist.entries()]
        for name, (_, allowlist) in known.items()
    }


def _read_other(name: str, endpoints: list[str], known: list[str]) -> dict[str, list[IPNetwork]]:
    """Read the other list, as networks by endpoint; exit 2 when it is invalid.

    known: the configured endpoints, which are all that a file may name.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        found = parse_list(text)
    except BadList as error:
        complain(f"{name}:{error.line}:{error.column}: {error}")
        sys.exit(2)
    except (OSError, UnicodeDecodeError) as error:
        complain(f"{name}: {error.strerror if isinstance(error, OSError) else 'not UTF-8 text'}")
        sys.exit(2)
    if not isinstance(found, dict):
        return dict.fromkeys(endpoints, found)
    for each in found:
        if each not in known:
            complain(f"{name}: {unknown_endpoint(each, known)}")
            sys.exit(2)
    return found


def _chosen(config: Path, endpoint: str | None) -> dict[str, tuple[Mode, Allowlist]]:
    everything = known_allowlists(load_settings(config))
    if endpoint is None:
        return everything
    if endpoint not in everything:
        raise typer.BadParameter(unknown_endpoint(endpoint, everything))
    return {endpoint: everything[endpoint]}


def _row(endpoint: str, entry: Entry) -> dict[str, object]:
    return {"endpoint": endpoint} | entry_json(entry)
