"""`relay providers`: the built-in providers, ready senders, and one that a file describes."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from netaddr import IPAddress, IPNetwork
from pydantic import TypeAdapter, ValidationError

from relay.allowlist.networks import parse_network
from relay.cli import completion
from relay.cli.output import (
    FORMAT,
    Format,
    print_json,
    print_table,
)
from relay.config import presets
from relay.config.checks_snap import sender_issues
from relay.config.conditions import JsonIn, JsonIs
from relay.config.file_text import MAX_FILE_BYTES, decode
from relay.config.inline_provider import InlineProvider as Section
from relay.config.inline_provider import Must
from relay.config.snap_sender import SnapSender
from relay.config.validation import validate
from relay.config.yaml_document import (
    TOP,
    ConfigIssue,
    Document,
    Location,
    SourceMap,
    Unreadable,
    parse,
    suggestion,
)
from relay.core.errors import ConfigError
from relay.core.secret import Secret
from relay.providers import Provider, ProviderInfo, RequestShape, Window
from relay.providers.builtin import names, provider_named
from relay.providers.inline.problems import problems
from relay.providers.inline.provider import InlineProvider

# ---- a provider described in a file ---------------------------------------------------------

_BLOCK: Final[Location] = ("endpoints", 0, "provider")
_MUST: Final[TypeAdapter[JsonIs | JsonIn]] = TypeAdapter(Must)
_WANTED = "write a provider block, or a configuration with one endpoint whose provider is described"


PROVIDER = Annotated[
    str,
    typer.Argument(
        help="Name of the provider, or a YAML file that describes one.",
        autocompletion=completion.providers,
    ),
]


class Unknown(ValueError):
    """The name is neither a built-in provider, nor a ready sender, nor a file."""


@dataclass(frozen=True, slots=True)
class Described:
    """A provider, and the file that describes it: None for a built-in one.

    public_url: the URL that its messages are signed for, when the file has one.
    client: an address that the file lets send, when it trusts a proxy on this machine.
    changes: fields that the file requires of a message, with a value that it takes.
    """

    provider: Provider
    file: Path | None = None
    public_url: str | None = None
    client: str | None = None
    changes: Mapping[str, str] = field(default_factory=dict)


def named_or_described(word: str) -> Described:
    """Return the built-in provider of this name, the ready sender, or the one described in a file.

    Raises:
        Unknown: there is neither.
        ConfigError: the file describes no valid provider; with every mistake.
    """
    if word in names():
        return Described(provider_named(word))
    if word in presets.files():
        # The public_url in its file is an example.
        found = described(presets.files()[word])
        return replace(found, public_url=None, client=None, changes={})
    path = Path(word)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return described(path)
    near = suggestion(word, presets.names())
    raise Unknown(f'no provider named "{word}", and no such file; {near}')


def described(path: Path) -> Described:
    """Return the provider that a file describes: a whole configuration, or the block alone.

    The rest of the file is not validated: secrets may be unset, and upstreams unknown.

    Raises:
        ConfigError: the file describes no valid provider; with every mistake.
    """
    document = _read(path)
    source = SourceMap(str(path), path.absolute().parent, document.values, document.keys)
    if document.issues:
        raise ConfigError(source.problem(issue) for issue in document.issues)
    location, public_url = _find(document, source)
    block = _value_at(document.data, location)
    found, issues = _validated(block, public_url, source.base)
    if found is None:
        moved = (_moved(issue, location) for issue in issues)
        raise ConfigError(source.problem(issue) for issue in moved)
    client = _client(document.data, location) if trusts_loopback(document.data) else None
    return Described(found, path, public_url, client, _required(document.data, location))


def _read(path: Path) -> Document:
    source = SourceMap(str(path), path.absolute().parent)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigError([source.problem(ConfigIssue((), "larger than 1 MiB"))])
        return parse(decode(content).removeprefix("\ufeff"))
    except Unreadable as error:
        raise ConfigError([source.problem(error.issue)]) from None
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else str(error)
        message = f"cannot read the file: {cause}"
        raise ConfigError([source.problem(ConfigIssue((), message))]) from None


def _find(document: Document, source: SourceMap) -> tuple[Location, str | None]:
    """Return the location of the one description, and the public_url beside it."""
    data = document.data if isinstance(document.data, dict) else {}
    if "signature" in data or "snap" in data:
        return (), None
    if isinstance(data.get("provider"), dict):
        return ("provider",), None
    endpoints = data.get("endpoints")
    found: list[tuple[Location, Mapping[str, Any]]] = [
        (("endpoints", at, "provider"), endpoint)
        for at, endpoint in enumerate(endpoints if isinstance(endpoints, tuple) else ())
        if isinstance(endpoint, dict) and isinstance(endpoint.get("provider"), dict)
    ]
    if len(found) != 1:
        number = "several senders" if found else "no sender"
        issue = ConfigIssue((), f"describes {number}; {_WANTED}", position=TOP)
        raise ConfigError([source.problem(issue)])
    location, endpoint = found[0]
    public_url = endpoint.get("public_url")
    return location, public_url if isinstance(public_url, str) else None


_LOOPBACK: Final = tuple(map(IPAddress, ("127.0.0.1", "::1")))
#: For documentation (RFC 5737): stands for a sender wherever anybody may send.
_ANYBODY: Final = "192.0.2.7"


def trusts_loopback(data: object) -> bool:
    """Return whether a configuration, which may hold mistakes, trusts a proxy on this machine."""
    proxies = data.get("trusted_proxies") if isinstance(data, dict) else None
    networks = _networks(proxies)
    return any(address in network for network in networks for address in _LOOPBACK)


def _client(data: object, block: Location) -> str | None:
    """Return an address that may send to the endpoint with this block, if the file has one."""
    if len(block) != len(_BLOCK):
        return None
    endpoint: Any = _value_at(data, block[:-1])
    allowlist = endpoint.get("allowlist")
    allowlist = allowlist if isinstance(allowlist, dict) else {}
    if allowlist.get("mode") in ("off", "report"):
        return _ANYBODY
    listed = endpoint["provider"].get("networks")
    known = [each.get("cidrs") for each in listed.values()] if isinstance(listed, dict) else []
    members = [allowlist.get("replace"), allowlist.get("add"), *known]
    networks = [network for each in members for network in _networks(each)]
    return str(networks[0][0]) if networks else None


def _required(data: object, block: Location) -> dict[str, str]:
    """Return the fields that the endpoint with this block requires, each with its first value.

    What cannot be read is left out: the rest of a file is not validated.
    """
    endpoint: Any = _value_at(data, block[:-1]) if len(block) == len(_BLOCK) else {}
    names = {"merchant_id": "merchantId", "partner_id": "X-PARTNER-ID"}
    found = {names[key]: str(endpoint[key]) for key in names if key in endpoint}
    tokens = endpoint.get("tokens")
    if isinstance(tokens, dict) and "client_id" in tokens:
        found["X-CLIENT-KEY"] = str(tokens["client_id"])
    for each in endpoint.get("must") or ():
        with suppress(ValidationError):
            rule = _MUST.validate_python(each).rule()
            found[rule.pointer[1:]] = rule.values[0]
    return found


def _networks(members: object) -> list[IPNetwork]:
    """Return those of these texts that are networks."""
    found = []
    for member in members if isinstance(members, tuple) else ():
        with suppress(ValueError):
            found.append(parse_network(str(member)))
    return found


def _validated(
    block: object, public_url: str | None, base: Path
) -> tuple[Provider | None, tuple[ConfigIssue, ...]]:
    """Validate a block as `relay check` would, in an endpoint that is valid otherwise."""
    endpoint: dict[str, object] = {
        "name": "sender",
        "path": "/sender",
        "provider": block,
        "secrets": (Secret("stand-in"),),
        "upstream": "nowhere",
    }
    if public_url is not None:
        endpoint["public_url"] = public_url
    whole = {
        "listen": ({"bind": "127.0.0.1:0"},),
        "upstreams": {"nowhere": {"url": "http://127.0.0.1:1/"}},
        "endpoints": (endpoint,),
    }
    checked = validate(whole, base)
    section = None if checked.settings is None else checked.settings.endpoints[0].provider
    if isinstance(section, SnapSender):
        wrong = (*checked.issues, *sender_issues(section, _BLOCK))
        return (None if wrong else section.provider()), wrong
    if checked.issues or not isinstance(section, Section):
        return None, checked.issues
    description = section.description()
    wrong = tuple(ConfigIssue((*_BLOCK, *keys), message) for keys, message in problems(description))
    return (None if wrong else InlineProvider(description)), wrong


def _value_at(data: object, location: Location) -> object:
    for part in location:
        data = data[part]  # type: ignore[index]  # `_find` has been there
    return data


def _moved(issue: ConfigIssue, location: Location) -> ConfigIssue:
    """Return the issue with its location in the file of the block."""
    if issue.location[: len(_BLOCK)] == _BLOCK:
        return replace(issue, location=(*location, *issue.location[len(_BLOCK) :]))
    # Beside the block: the public_url.
    return replace(issue, location=(*location[:-1], *issue.location[len(_BLOCK) - 1 :]))


# ---- verbs ----------------------------------------------------------------------------------

app = typer.Typer(help="What is built in: addresses, signature, answers, source document.")


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """List the providers when no more is said."""
    if context.invoked_subcommand is None:
        list_providers(Format.TEXT)


@app.command("list")
def list_providers(
    form: FORMAT = Format.TEXT,
) -> None:
    """List the providers.

    Example: relay providers list --format json
    """
    everything = [(name, named_or_described(name)) for name in presets.names()]
    if form is Format.JSON:
        print_json([_facts(found) | {"name": name} for name, found in everything])
        return
    print_table(
        ("provider", "environments", "signature", "challenge", "reviewed"),
        [
            (
                name,
                ", ".join(found.provider.info.environments),
                found.provider.info.signature,
                "answered" if found.provider.info.challenges else None,
                _reviewed(found.provider.info),
            )
            for name, found in everything
        ],
    )


@app.command("show")
def show(
    name: PROVIDER,
    form: FORMAT = Format.TEXT,
) -> None:
    """Show everything about one provider.

    Example: relay providers show midtrans
    """
    try:
        found = named_or_described(name)
    except Unknown as error:
        raise typer.BadParameter(str(error)) from None
    info = found.provider.info
    if form is Format.JSON:
        print_json(_facts(found))
        return
    rows: list[tuple[str, object]] = [
        ("provider", f"{info.name}: {info.title}"),
        ("methods", ", ".join(info.methods)),
        ("secrets", info.secrets),
        ("signature", info.signature),
        ("event key", info.event_key),
        ("answers", info.answers),
        ("signed time", _window(info.window)),
        ("headers passed on", ", ".join(info.headers) or "none of its own"),
    ]
    if found.file is not None:
        rows.append(("file", found.file))
    rows += [("source", each) for each in (info.document, *info.documents) if each]
    if (reviewed := _reviewed(info)) is not None:
        rows.append(("reviewed", reviewed))
    rows += [("challenge", each) for each in info.challenges]
    rows += [("trap", trap) for trap in info.traps]
    if info.vector:
        rows.append(("published message", info.vector))
    rows += [("path", _shape(shape)) for shape in info.shapes]
    rows += [(f"callback: {name}", _shape(shape)) for name, shape in info.callbacks.items()]
    for environment, sources in info.environments.items():
        rows += [(environment, f"host {host}") for host in sources.hosts]
        for listing in sources.listings:
            rows += [
                (environment, f"{network}  ({listing.origin})") for network in listing.networks
            ]
    print_table(("fact", "value"), rows)


def _facts(found: Described) -> dict[str, object]:
    return _as_json(found.provider.info) | {"file": found.file and str(found.file)}


def _reviewed(info: ProviderInfo) -> date | None:
    """Return when what is known was last compared with its source; None where it never was."""
    return None if info.reviewed == date.max else info.reviewed


def _shape(shape: RequestShape) -> str:
    path = f"{shape.method} <path>{shape.path}"
    return f"{path}, always proxied" if shape.proxied else path


def _window(window: Window | None) -> str:
    if window is None:
        return "none"
    past = "any time" if window.past is None else f"{window.past}"
    future = "any time" if window.future is None else f"{window.future}"
    return f"at most {past} back, {future} ahead"


def _as_json(info: ProviderInfo) -> dict[str, object]:
    return {
        "name": info.name,
        "title": info.title,
        "methods": list(info.methods),
        "secrets": info.secrets,
        "signature": info.signature,
        "event_key": info.event_key,
        "answers": info.answers,
        "window": None
        if info.window is None
        else {
            "past_seconds": info.window.past and info.window.past.total_seconds(),
            "future_seconds": info.window.future and info.window.future.total_seconds(),
        },
        "shapes": [_shape_json(shape) for shape in info.shapes],
        "callbacks": {name: _shape_json(shape) for name, shape in info.callbacks.items()},
        "headers": list(info.headers),
        "document": info.document,
        "documents": list(info.documents),
        "reviewed": (reviewed := _reviewed(info)) and reviewed.isoformat(),
        "challenges": list(info.challenges),
        "traps": list(info.traps),
        "vector": info.vector,
        "environments": {
            name: {
                "networks": [
                    {"network": network, "origin": listing.origin}
                    for listing in environment.listings
                    for network in listing.networks
                ],
                "hosts": list(environment.hosts),
            }
            for name, environment in info.environments.items()
        },
    }


def _shape_json(shape: RequestShape) -> dict[str, object]:
    return {"method": shape.method, "path": shape.path, "proxied": shape.proxied}
