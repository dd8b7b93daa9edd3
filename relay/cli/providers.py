"""`relay providers`: what is built in, and what a file describes."""

from typing import Annotated

import typer

from relay.cli.described import Unknown, named_or_described
from relay.cli.output import Format, print_json, print_table
from relay.plugins import load, names
from relay.providers import Facts, Shape, Window

app = typer.Typer(help="What is built in: addresses, signature, answers, source document.")


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """List the providers when no more is said."""
    if context.invoked_subcommand is None:
        list_providers(Format.TEXT)


@app.command("list")
def list_providers(
    form: Annotated[Format, typer.Option("--format", help="text or json")] = Format.TEXT,
) -> None:
    """List the providers."""
    everything = [_facts(name) for name in names("providers")]
    if form is Format.JSON:
        print_json([_as_json(facts) for facts in everything])
        return
    print_table(
        ("provider", "environments", "signature", "reviewed"),
        [
            (facts.name, ", ".join(facts.environments), facts.signature, facts.reviewed)
            for facts in everything
        ],
    )


@app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="Name of the provider, or a YAML file that describes one.")
    ],
    form: Annotated[Format, typer.Option("--format", help="text or json")] = Format.TEXT,
) -> None:
    """Show everything about one provider."""
    try:
        found = named_or_described(name)
    except Unknown as error:
        raise typer.BadParameter(str(error)) from None
    facts = found.provider.facts
    if form is Format.JSON:
        # What a file describes has never been reviewed here.
        own = {} if found.file is None else {"document": str(found.file), "reviewed": None}
        print_json(_as_json(facts) | own)
        return
    rows: list[tuple[str, object]] = [
        ("provider", f"{facts.name}: {facts.title}"),
        ("methods", ", ".join(facts.methods)),
        ("secrets", facts.secrets),
        ("signature", facts.signature),
        ("event key", facts.event_key),
        ("answers", facts.answers),
        ("signed time", _window(facts.window)),
        ("headers passed on", ", ".join(facts.headers) or "none of its own"),
        ("source", found.file or facts.document),
    ]
    if found.file is None:
        rows.append(("reviewed", facts.reviewed))
    rows += [("path", _shape(shape)) for shape in facts.shapes]
    rows += [(f"callback: {name}", _shape(shape)) for name, shape in facts.callbacks.items()]
    for environment, sources in facts.environments.items():
        rows += [(environment, f"host {host}") for host in sources.hosts]
        for listing in sources.listings:
            rows += [
                (environment, f"{network}  ({listing.origin})") for network in listing.networks
            ]
    print_table(("fact", "value"), rows)


def _facts(name: str) -> Facts:
    facts: Facts = load("providers", name).PROVIDER.facts
    return facts


def _shape(shape: Shape) -> str:
    path = f"{shape.method} <path>{shape.path}"
    return f"{path}, always proxied" if shape.proxied else path


def _window(window: Window | None) -> str:
    if window is None:
        return "none"
    past = "any time" if window.past is None else f"{window.past}"
    future = "any time" if window.future is None else f"{window.future}"
    return f"at most {past} back, {future} ahead"


def _as_json(facts: Facts) -> dict[str, object]:
    return {
        "name": facts.name,
        "title": facts.title,
        "methods": list(facts.methods),
        "secrets": facts.secrets,
        "signature": facts.signature,
        "event_key": facts.event_key,
        "answers": facts.answers,
        "window": None
        if facts.window is None
        else {
            "past_seconds": facts.window.past and facts.window.past.total_seconds(),
            "future_seconds": facts.window.future and facts.window.future.total_seconds(),
        },
        "shapes": [_shape_json(shape) for shape in facts.shapes],
        "callbacks": {name: _shape_json(shape) for name, shape in facts.callbacks.items()},
        "headers": list(facts.headers),
        "document": facts.document,
        "reviewed": facts.reviewed.isoformat(),
        "environments": {
            name: {
                "networks": [
                    {"network": network, "origin": listing.origin}
                    for listing in environment.listings
                    for network in listing.networks
                ],
                "hosts": list(environment.hosts),
            }
            for name, environment in facts.environments.items()
        },
    }


def _shape_json(shape: Shape) -> dict[str, object]:
    return {"method": shape.method, "path": shape.path, "proxied": shape.proxied}
