"""The table of keys in config/README.md, made from the models of the configuration.

Types, defaults and meanings are those of the models; examples are the values of
config/relay.example.yaml. `make docs` writes the table anew, between its two markers.
"""

import json
import re
from collections.abc import Iterator, Mapping
from enum import EnumMeta
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import Discriminator
from pydantic.fields import FieldInfo

from relay.config import (
    Settings,
    about_sender,
    challenges,
    conditions,
    inline_provider,
    listener_settings,
    message_fields,
    routes,
    settings,
    snap_sender,
    types,
    upstream_settings,
    upstream_values,
)
from relay.config.loader import schema
from relay.config.types import Section
from relay.config.yaml_document import parse

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "config/README.md"
BEGIN = "<!-- keys: written by `make docs` -->"
END = "<!-- end of keys -->"

#: Each mapping of the file: where it stands, and the model of it. A number in a place is an entry
#: of a list, `*` a name of the user's choice.
SECTIONS: tuple[tuple[str, type[Section]], ...] = (
    ("", Settings),
    ("listen.0", listener_settings.Listener),
    ("listen.0.tls", listener_settings.Tls),
    ("admin", listener_settings.Admin),
    ("spool", settings.SqliteSpool),
    ("spool", settings.PostgresSpool),
    ("dns", settings.Dns),
    ("limits", listener_settings.Limits),
    ("upstreams.*", upstream_settings.Upstream),
    ("upstreams.*.retry", upstream_settings.Retry),
    ("upstreams.*.auth", upstream_settings.BearerAuth),
    ("upstreams.*.auth", upstream_settings.BasicAuth),
    ("upstreams.*.auth.basic", upstream_settings.BasicCredentials),
    ("upstreams.*.auth", upstream_settings.OAuth2Auth),
    ("upstreams.*.auth.oauth2", upstream_settings.OAuth2Client),
    ("upstreams.*.tls", upstream_settings.UpstreamTls),
    ("endpoints.0", settings.Endpoint),
    ("endpoints.0.allowlist", settings.Allowlist),
    ("endpoints.1.timestamp", settings.TimeWindow),
    ("endpoints.0.confirm", settings.Confirm),
    ("endpoints.0.routes.0", routes.Route),
    ("endpoints.0.routes.0.when", conditions.HeaderIs),
    ("endpoints.0.routes.0.when", conditions.JsonIn),
    ("endpoints.2.provider", inline_provider.InlineProvider),
    ("endpoints.2.provider.networks.*", inline_provider.Networks),
    ("endpoints.2.provider.signature", inline_provider.Signature),
    ("endpoints.2.provider.signature.timestamp", inline_provider.SignedTime),
    ("endpoints.2.provider.signature.from", message_fields.HeaderField),
    ("endpoints.2.provider.signature.from", message_fields.AnyHeaderField),
    ("endpoints.2.provider.signature.from", message_fields.QueryField),
    ("endpoints.2.provider.signature.from", message_fields.FormField),
    ("endpoints.2.provider.signature.claims", inline_provider.JwtClaims),
    ("endpoints.2.provider.event_key", message_fields.JsonFields),
    ("endpoints.2.provider.must.0", conditions.JsonIs),
    ("endpoints.2.provider.challenge.0", challenges.Challenge),
    ("endpoints.2.provider.challenge.0.when", challenges.JsonValue),
    ("endpoints.2.provider.challenge.1.when.0", challenges.QueryValue),
    ("endpoints.2.provider.challenge.0.answer", challenges.ChallengeAnswer),
    ("endpoints.2.must.0", conditions.JsonIn),
    ("endpoints.3.tokens", snap_sender.AccessTokens),
    ("endpoints.3.provider", snap_sender.SnapSender),
    ("endpoints.3.provider.snap", snap_sender.Snap),
    ("endpoints.2.provider.about", about_sender.About),
    ("endpoints.2.provider.sample", about_sender.SampleMessage),
)
_TITLES = {
    "endpoints.0.routes.0": "An entry of `routes`",
    "endpoints.0.routes.0.when": "`when`: a header field or a JSON value, with `is` or `in`",
    "endpoints.2.provider": "`endpoints.*.provider`, where it is not built in",
    "endpoints.2.provider.networks.*": "`provider.networks.*`",
    "endpoints.2.provider.signature": "`provider.signature`",
    "endpoints.2.provider.signature.timestamp": "`provider.signature.timestamp`",
    "endpoints.2.provider.signature.from": "A field of a message: a header",
    "endpoints.2.provider.event_key": "A field of a message: in the body",
    "endpoints.2.provider.must.0": "An entry of `must`: one value",
    "endpoints.2.provider.challenge.0": "An entry of `provider.challenge`",
    "endpoints.2.provider.challenge.0.when": "`when` of a challenge: a field of the body",
    "endpoints.2.provider.challenge.1.when.0": "`when` of a challenge: a parameter of the query",
    "endpoints.2.provider.challenge.0.answer": "`answer` of a challenge",
    "endpoints.2.must.0": "An entry of `must`: several values",
    "endpoints.3.provider": "`endpoints.*.provider`, of a sender of BI-SNAP",
    "endpoints.3.provider.snap": "`provider.snap`",
    "endpoints.2.provider.about": "`provider.about`",
    "endpoints.2.provider.sample": "`provider.sample`",
}

_OF_MODEL = {
    message_fields.AnyHeaderField: "A field of a message: any of several headers",
    message_fields.QueryField: "A field of a message: in the query",
    message_fields.FormField: "A field of a message: in a form",
}

#: Where the example file has none, or cannot have one beside its other keys.
EXAMPLES: Mapping[str, object] = {
    "Admin.hosts": ["relay.internal"],
    "Admin.read_token": "${env:RELAY_READ_TOKEN}",
    "Allowlist.add": ["198.51.100.7", "hooks.example.com"],
    "Allowlist.replace": ["198.51.100.0/24"],
    "Endpoint.callback": "checkout",
    "HeaderIs.header": "X-GitHub-Event",
    "HeaderIs.is": "ping",
    "JsonIn.json": "/type",
    "JsonIn.in": ["charge", "fee"],
    "UpstreamTls.ca": "tls/internal-ca.pem",
    "UpstreamTls.certificate": "tls/relay.pem",
    "UpstreamTls.key": "tls/relay.key",
    "UpstreamTls.server_name": "billing.internal",
    "Upstream.tls": {"ca": "tls/internal-ca.pem"},
    "Endpoint.order_id_pattern": "INV-[0-9]{8}",
    "Confirm.key": "${env:MIDTRANS_MERCHANT_KEY}",
    "Endpoint.merchant_id": "G059876677",
    "Endpoint.partner_id": "MERCHANT-1",
    "InlineProvider.single": "/items",
    "Limits.body": "1MiB",
    "Limits.json_elements": 20_000,
    "Limits.json_keys": 20_000,
    "PostgresSpool.kind": "postgres",
    "Settings.state_dir": "/var/lib/relay",
    "SnapSender.about": {"title": "The bank example.com"},
    "Signature.strip_prefix": "whsec_",
}

#: What the schema does not tell.
DEFAULTS: Mapping[str, str] = {
    "Settings.state_dir": "beside the spool",
    "Endpoint.upstream": "needed, or `upstreams`",
    "Endpoint.environment": "the only one there is",
    "Endpoint.timestamp": "the provider's",
    "Confirm.url": "the environment's",
    "InlineProvider.event_key": "SHA-256 of the body",
    "InlineProvider.networks": "nobody",
    "SnapSender.networks": "nobody",
    "Snap.echo": "those that it names",
    "Snap.services": "the standard's",
    "SampleMessage.headers": "none",
    "SampleMessage.query": "none",
    "Dns.nameservers": "the system's",
    "Limits.json_elements": "one for each 12 bytes of `body`",
    "Limits.json_keys": "one for each 12 bytes of `body`",
}

#: What the annotation does not tell.
KINDS: Mapping[str, str] = {
    "Settings.state_dir": "path of a directory",
    "Signature.from": "field of a message",
    "Endpoint.upstream": "name of an upstream",
    "Endpoint.upstreams": "list: name of an upstream",
    "Route.upstreams": "list: name of an upstream",
}

_NAMED: tuple[tuple[object, str], ...] = (
    (types.Duration, "duration"),
    (types.DurationOrZero, "duration"),
    (types.Size, "size"),
    (types.BindText, "address and port"),
    (types.NameserverText, "name server"),
    (types.Network, "network"),
    (types.Member, "network or host name"),
    (types.SecretText, "secret"),
    (types.FilePath, "path of a file"),
    (types.HeaderName, "header name"),
    (types.HostName, "host name"),
    (types.JsonPointer, "JSON pointer"),
    (types.Label, "name"),
    (types.Pattern, "regular expression"),
    (types.PublicPath, "path"),
    (types.PublicUrl, "URL"),
    (types.UpstreamUrl, "URL"),
    (types.RateText, "rate"),
    (types.ServerName, "host name"),
    (types.TokenUrl, "URL"),
    (upstream_values.BearerToken, "secret"),
    (upstream_values.Password, "secret"),
    (upstream_values.HeaderText, "secret or text"),
    (upstream_values.FinalStatus, "300 to 599"),
    (settings.Timestamp, "`off` or a mapping"),
    (settings.ProviderChoice, "name of a provider, or a description"),
    (message_fields.MessageField, "field of a message"),
    (message_fields.MessageFields, "fields of a message"),
    (message_fields.SignatureField, "field of a message"),
    (snap_sender.ServiceCode, "two digits"),
    (about_sender.Day, "date"),
    (about_sender.DocumentUrl, "URL"),
    (about_sender.SampleJson, "JSON"),
    (about_sender.SampleText, "text or number"),
    (conditions.RequiredText, "text or number"),
    (conditions.TextOrSecret, "text, number or secret"),
)


def kind(annotation: object, field: FieldInfo | None = None) -> str:
    """Return what may be written, in a few words."""
    named = next((name for known, name in _NAMED if annotation == known), None)
    if named is not None:
        return named
    return _composed(annotation, field) if get_args(annotation) else _plain(annotation, field)


def _composed(annotation: object, field: FieldInfo | None) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in parts)
    if origin is tuple:
        return f"list: {kind(parts[0])}"
    if origin is dict:
        return f"by name: {kind(parts[1])}"
    if any(isinstance(each, Discriminator) for each in parts):
        return "mapping"
    # Annotated, or a union with None.
    return kind(next(each for each in parts if each is not type(None)), field)


def _plain(annotation: object, field: FieldInfo | None) -> str:
    if isinstance(annotation, EnumMeta):
        return " or ".join(f"`{each.value}`" for each in annotation)  # type: ignore[var-annotated]
    if annotation is bool:
        return "`true` or `false`"
    if annotation is int and field is not None:
        least, most = (_bound(field, name) for name in ("ge", "le"))
        return f"{least:,} to {most:,}"
    return "mapping" if annotation in {model for _, model in SECTIONS} else "text"


def _bound(field: FieldInfo, name: str) -> int:
    return next(int(getattr(each, name)) for each in field.metadata if hasattr(each, name))


def flow(value: object) -> str:
    """Return a value as it is written on one line of YAML."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str() if re.fullmatch(r"[A-Za-z/][A-Za-z0-9_./-]*|[0-9]+[A-Za-z]+", value):
            return value
    return json.dumps(value, ensure_ascii=False)


@cache
def _schema() -> dict[str, Any]:
    return schema()


@cache
def examples() -> dict[str, Any]:
    """Return the data of the example file."""
    data = parse((ROOT / "config/relay.example.yaml").read_text()).data
    assert isinstance(data, dict)
    return data


def at(data: object, place: str) -> object:
    """Return what stands at a place, or None."""
    for part in filter(None, place.split(".")):
        if isinstance(data, Mapping):
            data = next(iter(data.values())) if part == "*" else data.get(part)
        elif isinstance(data, list | tuple):
            data = data[int(part)] if int(part) < len(data) else None
    return data


def example(place: str, model: type[Section], key: str, field: FieldInfo) -> object:
    """Return a value that this key may have."""
    name = f"{model.__name__}.{key}"
    if name in EXAMPLES:
        return EXAMPLES[name]
    # Of an endpoint's own keys, each of the file's endpoints shows some.
    places = [f"endpoints.{each}" for each in range(4)] if model is settings.Endpoint else [place]
    found = (at(at(examples(), each), key) for each in places)
    value = next((each for each in found if each not in (None, (), {})), None)
    if value is None and field.examples:
        value = field.examples[0]
    assert value is not None, f"{name} has no example; write one into EXAMPLES"
    return value


def rows() -> Iterator[tuple[str, type[Section], str, FieldInfo]]:
    """Yield every key of every mapping: its place, its model, its name and its field."""
    for place, model in SECTIONS:
        for name, field in model.model_fields.items():
            yield place, model, field.alias or name, field


def default(model: type[Section], key: str, field: FieldInfo) -> str:
    """Return the default as it would be written, or that the key is needed."""
    known = DEFAULTS.get(f"{model.__name__}.{key}")
    if known is not None:
        return known
    if field.is_required():
        return "needed"
    whole = _schema()
    properties = whole["$defs"].get(model.__name__, whole)["properties"]
    value = properties[key].get("default")
    if value == {}:
        return "as below"
    return "none" if value in (None, [], "") else f"`{flow(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _row(place: str, model: type[Section], key: str, field: FieldInfo) -> str:
    name = next(each for each, found in model.model_fields.items() if found is field)
    annotation = get_type_hints(model, include_extras=True)[name]
    written = KINDS.get(f"{model.__name__}.{key}") or kind(annotation, field)
    shown = "below"
    if not written.endswith("mapping") or written.startswith("`off`"):
        shown = f"`{key}: {flow(example(place, model, key, field))}`"
    cells = [f"`{key}`", written, default(model, key, field), shown, field.description or ""]
    return f"| {' | '.join(map(_cell, cells))} |"


def table() -> str:
    """Return the part of the page that is generated."""
    lines: list[str] = []
    for place, model in SECTIONS:
        written = re.sub(r"\.[0-9]+", ".*", place)
        title = (
            _OF_MODEL.get(model)
            or _TITLES.get(place)
            or (f"`{written}`" if written else "The whole file")
        )
        about = " ".join((model.__doc__ or "").split())
        if place == "spool":
            title += f", `kind: {model.__name__.removesuffix('Spool').lower()}`"
        lines += [f"### {title}", "", about, ""] if place else [f"### {title}", ""]
        lines += ["| key | type | default | example | for |", "|---|---|---|---|---|"]
        for name, field in model.model_fields.items():
            lines.append(_row(place, model, field.alias or name, field))
        lines.append("")
    return "\n".join(lines)


def written(page: str) -> str:
    """Return the page with the generated part as it has to be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
