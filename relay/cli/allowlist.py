"""`relay allowlist`: who may send now, and whether one address may.

What DNS said is read from the state file that the running relay keeps; nothing is looked up.
"""

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from relay.admin.state import entry_json
from relay.assembly import known_allowlists
from relay.cli.options import CONFIG, FORMAT, load_settings
from relay.cli.output import Format, print_json, print_table
from relay.clientip import plain
from relay.sources import Allowlist, Entry, Mode

app = typer.Typer(no_args_is_help=True, help="Addresses that may send, endpoint by endpoint.")

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


def _chosen(config: Path, endpoint: str | None) -> dict[str, tuple[Mode, Allowlist]]:
    everything = known_allowlists(load_settings(config))
    if endpoint is None:
        return everything
    if endpoint not in everything:
        raise typer.BadParameter(
            f'no endpoint named "{endpoint}"; there are: {", ".join(everything)}'
        )
    return {endpoint: everything[endpoint]}


def _row(endpoint: str, entry: Entry) -> dict[str, object]:
    return {"endpoint": endpoint} | entry_json(entry)
