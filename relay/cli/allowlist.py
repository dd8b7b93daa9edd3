"""`relay allowlist`: who may send now, what another list says of it, and telling others.

What DNS said is read from the state file that the running relay keeps; nothing is looked up.
"""

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
from netaddr import IPNetwork

from relay.admin.state import entry_json
from relay.assembly import known_allowlists
from relay.cli.differences import Unreadable, differences, read
from relay.cli.firewall import Allowed, Dialect, as_json, haproxy, nftables, nginx
from relay.cli.options import CONFIG, FORMAT, load_settings, no_endpoint
from relay.cli.output import Format, complain, print_json, print_table
from relay.clientip import plain
from relay.config.endpoint import Allowlist as AllowlistSettings
from relay.networks import merge
from relay.sources import Allowlist, Entry, Mode

app = typer.Typer(no_args_is_help=True, help="Addresses that may send, endpoint by endpoint.")

_WRITERS = {Dialect.NFTABLES: nftables, Dialect.NGINX: nginx, Dialect.HAPROXY: haproxy}

ENDPOINT = Annotated[str | None, typer.Option("--endpoint", help="Only this endpoint.")]


@app.command("show")
def show(
    config: CONFIG = Path("relay.yaml"), endpoint: ENDPOINT = None, form: FORMAT = Format.TEXT
) -> None:
    """Show every network, where it is known from and when it was last seen."""
    rows = [
        _row(name, entry)
        for name, (_, allowlist) in _chosen(config, endpoint).items()
        for entry in allowlist.entries()
    ]
    if form is Format.JSON:
        print_json(rows)
        return
    columns = ("endpoint", "network", "origin", "host", "last_seen")
    print_table(columns, [[row[column] for column in columns] for row in rows])


@app.command("check")
def check(
    address: Annotated[str, typer.Argument(help="The address in question.")],
    config: CONFIG = Path("relay.yaml"),
    endpoint: ENDPOINT = None,
    form: FORMAT = Format.TEXT,
) -> None:
    """Say whether this address may send; exit 0 when some endpoint admits it, 1 when none does."""
    try:
        client = plain(ip_address(address))
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
        columns = ("endpoint", "mode", "admitted", "network", "origin", "host")
        print_table(columns, [[row.get(column) for column in columns] for row in rows])
    sys.exit(0 if any(row["admitted"] for row in rows) else 1)


@app.command("diff")
def diff(
    config: CONFIG = Path("relay.yaml"),
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
    """
    chosen = _chosen(config, endpoint)
    if against is None:
        other = _providers_own(config)
    else:
        other = _other(against, list(chosen), list(_chosen(config, None)))
    rows: list[dict[str, object]] = []
    for name, (_, allowlist) in chosen.items():
        mine = [entry.network for entry in allowlist.entries()]
        for each in differences(mine, other.get(name, [])):
            change = "allowed here alone" if each.allowed else "allowed there alone"
            rows.append({"endpoint": name, "network": str(each.network), "difference": change})
    if form is Format.JSON:
        print_json(rows)
    else:
        columns = ("endpoint", "difference", "network")
        print_table(columns, [[row[column] for column in columns] for row in rows])
    sys.exit(1 if rows else 0)


@app.command("export")
def export(
    config: CONFIG = Path("relay.yaml"),
    endpoint: ENDPOINT = None,
    dialect: Annotated[
        Dialect, typer.Option("--format", help="nftables, nginx, haproxy or json")
    ] = Dialect.JSON,
) -> None:
    """Print who may send in the words of a firewall or a proxy.

    An endpoint with allowlist.mode: off lets everybody in: no firewall gets a list for it.
    Host names stand for the addresses that DNS gave them last: export again as they change.
    Exit 1 when an endpoint has host names of which no address is known yet.
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


def _providers_own(config: Path) -> dict[str, list[IPNetwork]]:
    """Return what each endpoint would allow without `add` and `replace`."""
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


def _other(name: str, endpoints: list[str], known: list[str]) -> dict[str, list[IPNetwork]]:
    """Return what a file says of each of these endpoints; all that it names have to be known."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        found = read(text)
    except Unreadable as error:
        complain(f"{name}:{error.line}:{error.column}: {error}")
        sys.exit(2)
    except (OSError, UnicodeDecodeError) as error:
        complain(f"{name}: {error.strerror if isinstance(error, OSError) else 'not UTF-8 text'}")
        sys.exit(2)
    if not isinstance(found, dict):
        return dict.fromkeys(endpoints, found)
    for each in found:
        if each not in known:
            complain(f"{name}: {no_endpoint(each, known)}")
            sys.exit(2)
    return found


def _chosen(config: Path, endpoint: str | None) -> dict[str, tuple[Mode, Allowlist]]:
    everything = known_allowlists(load_settings(config))
    if endpoint is None:
        return everything
    if endpoint not in everything:
        raise typer.BadParameter(no_endpoint(endpoint, everything))
    return {endpoint: everything[endpoint]}


def _row(endpoint: str, entry: Entry) -> dict[str, object]:
    return {"endpoint": endpoint} | entry_json(entry)
