"""Warnings about a valid configuration that its author may not have meant.

Pure: files, providers and the date are handed in. Findings are in the order of the file.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from netaddr import IPAddress, IPNetwork

from relay.allowlist import Mode
from relay.allowlist.networks import (
    covers_all,
    families_mostly_covered,
    parse_network,
    redundant_positions,
    special,
)
from relay.config import lint_topology
from relay.config.certificate_files import Certificate
from relay.config.endpoints import endpoint_options
from relay.config.inline_provider import InlineProvider
from relay.config.lint_credentials import EXPIRY_NOTICE, credential_advice
from relay.config.lint_merchants import merchant_advice
from relay.config.lint_privacy import privacy_advice
from relay.config.lint_routes import route_advice
from relay.config.lint_secrets import secret_advice
from relay.config.lint_signatures import weak_hash
from relay.config.lint_topology import WIDEST, Advice, is_wide
from relay.config.lint_upstreams import upstream_advice
from relay.config.settings import Endpoint, Settings, SqliteSpool
from relay.config.yaml_document import Location, dotted
from relay.core.urls import DEFAULT_PORTS
from relay.providers import Environment, ProviderInfo
from relay.providers.inline import Description, JsonField
from relay.providers.inline.signature import signature_fields
from relay.providers.inline.signed_text import Template

# ---- a described provider -------------------------------------------------------------------


def inline_advice(endpoint: Endpoint, location: Location) -> Iterator[Advice]:
    """Yield warnings about the described provider of this endpoint; none for a built-in one."""
    if not isinstance(endpoint.provider, InlineProvider):
        return
    description = endpoint.provider.description()
    signed = (*location, "provider", "signature", "signed")
    yield from _others_unsigned(description, signed)
    yield from _body_unsigned(description, signed)
    yield from weak_hash(description, signed[:-1])
    for name, networks in endpoint.provider.networks.items():
        yield from _wide(networks.cidrs, (*location, "provider", "networks", name, "cidrs"))


def _others_unsigned(described: Description, location: Location) -> Iterator[Advice]:
    if not described.signature.signs_text or described.single is not None:
        return
    template = Template(described.signature.signed)
    if template.covers_body:
        return
    lists = dict.fromkeys(name.partition("/0/")[0] for name in template.fields if "/0/" in name)
    for name in lists:
        message = f"covers one entry of /{name}, and others would pass; write single: /{name}"
        yield Advice(location, "others-unsigned", message)


def _body_unsigned(described: Description, location: Location) -> Iterator[Advice]:
    """Yield that a signature covers nothing of the event, but perhaps what stands beside itself."""
    rule = described.signature
    template = Template(rule.signed)
    if not rule.signs_text or template.covers_body:
        return
    beside = rule.source.pointer.rpartition("/")[0] if isinstance(rule.source, JsonField) else None
    own = signature_fields(rule)
    said = [
        field
        for field in template.covered
        if field not in own
        and not (
            beside and isinstance(field, JsonField) and field.pointer.rpartition("/")[0] == beside
        )
    ]
    if not said:
        message = (
            "covers nothing of what the body says: who has one signed message can put any other"
            " body under it; rely on addresses, and ask the sender's API before you act"
        )
        yield Advice(location, "body-unsigned", message)


# ---- one endpoint ---------------------------------------------------------------------------

REVIEW_INTERVAL = timedelta(days=365)

# Midtrans withdrew this address of the sandbox on 2022-03-15.
_WITHDRAWN = IPAddress("103.58.103.177")
_PRODUCTION = "production"


def endpoint_advice(
    settings: Settings, info: Mapping[str, ProviderInfo], today: date
) -> Iterator[Advice]:
    """Yield warnings about every endpoint that is in `info`."""
    reviewed: set[str] = set()
    for at, endpoint in enumerate(settings.endpoints):
        known = info.get(endpoint.name)
        if known is None:
            continue
        location = ("endpoints", at)
        yield from _mode(endpoint, known.environments[endpoint.environment], location)
        yield from _members(endpoint, known, location)
        yield from inline_advice(endpoint, location)
        yield from _path(endpoint, known, location)
        yield from _window(settings, endpoint, known, location)
        yield from _unconfirmed(endpoint, known, location)
        yield from merchant_advice(endpoint, location)
        if known.name not in reviewed and today - known.reviewed > REVIEW_INTERVAL:
            reviewed.add(known.name)
            message = (
                f"what is built in for {known.name} was compared with {known.document} on"
                f" {known.reviewed}, more than a year ago; compare it, or update the relay"
            )
            yield Advice((*location, "provider"), "old-review", message)


def is_midtrans(endpoint: Endpoint) -> bool:
    """Return whether this is an endpoint of a built-in provider of Midtrans."""
    return isinstance(endpoint.provider, str) and endpoint.provider.startswith("midtrans")


def _mode(endpoint: Endpoint, environment: Environment, location: Location) -> Iterator[Advice]:
    # Without published addresses there is nothing to enforce.
    published = environment.listings or environment.hosts
    if endpoint.allowlist.mode is Mode.OFF and published:
        message = "anybody may send; only the signature is checked"
        yield Advice((*location, "allowlist", "mode"), "allowlist-off", message)
    if endpoint.allowlist.mode is Mode.REPORT:
        message = "anybody may send, and other addresses are only counted; enforce refuses them"
        yield Advice((*location, "allowlist", "mode"), "allowlist-report", message)


def _path(endpoint: Endpoint, info: ProviderInfo, location: Location) -> Iterator[Advice]:
    exact = not any(shape.path for shape in info.shapes_of(endpoint.callback))
    if exact and endpoint.path.endswith("/") and endpoint.path != "/":
        message = (
            "ends in a slash, and is compared as it is: without it the provider's call is 404;"
            " write it as it stands at the provider"
        )
        yield Advice((*location, "path"), "trailing-slash", message)


def _window(
    settings: Settings, endpoint: Endpoint, info: ProviderInfo, location: Location
) -> Iterator[Advice]:
    """Yield signed times that do not bound for how long a message can be sent again."""
    if info.window is None or not endpoint.secrets:
        return
    window = endpoint_options(endpoint, info).window
    kept = settings.spool.retain_keys
    if window is None or window.past is None:
        message = (
            "the signed time is not looked at: a captured message is new again once its key is"
            f" forgotten, after {_days(kept)}; write a window"
        )
        yield Advice((*location, "timestamp"), "timestamp-off", message)
    elif window.past > kept:
        message = (
            f"a message may be {_days(window.past)} old, and its key is forgotten after"
            f" {_days(kept)} (spool.retain_keys): then it is new again; keep keys longer, or take"
            " younger messages only"
        )
        yield Advice((*location, "timestamp", "past"), "window-too-long", message)


def _days(length: timedelta) -> str:
    """Return a duration as the file writes it, in its largest whole unit."""
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h")):
        if not length % unit:
            return f"{length // unit}{name}"
    return f"{length // timedelta(seconds=1)}s"


def _wide(members: Iterable[IPNetwork | str], location: Location) -> Iterator[Advice]:
    for at, member in enumerate(members):
        if isinstance(member, IPNetwork) and is_wide(member):
            message = (
                f"{member} is wider than a /{WIDEST[member.version]}, which no sender has; name its"
                " own networks"
            )
            yield Advice((*location, at), "wide-network", message)


def _unconfirmed(endpoint: Endpoint, info: ProviderInfo, location: Location) -> Iterator[Advice]:
    can_ask = info.environments[endpoint.environment].status_api is not None
    if can_ask and endpoint.secrets and endpoint.mode == "store" and endpoint.confirm is None:
        message = (
            "its signature covers three fields, and the status is none of them; confirm: {with:"
            " status} asks before delivery"
        )
        yield Advice((*location, "provider"), "unconfirmed", message)


def _members(endpoint: Endpoint, info: ProviderInfo, location: Location) -> Iterator[Advice]:
    own = info.environments[endpoint.environment]
    location = (*location, "allowlist")
    replace, add = endpoint.allowlist.replace, endpoint.allowlist.add
    listed = _networks(own) if replace is None else ()
    yield from _one_list(replace or (), listed, (*location, "replace"))
    kept = tuple(each for each in replace or () if isinstance(each, IPNetwork))
    yield from _one_list(add, (*listed, *kept), (*location, "add"))
    configured = (*(replace or ()), *add)
    if is_midtrans(endpoint):
        yield from _withdrawn(replace or (), (*location, "replace"))
        yield from _withdrawn(add, (*location, "add"))
    where = location if configured else (*location[:-1], "provider")
    together = [*_combined(configured, listed, where)]
    yield from together
    if not together:
        yield from _wide(replace or (), (*location, "replace"))
        yield from _wide(add, (*location, "add"))
    if endpoint.environment == _PRODUCTION:
        yield from _sandbox(replace or (), info, (*location, "replace"))
        yield from _sandbox(add, info, (*location, "add"))
    if replace is not None:
        missing = [host for host in own.hosts if host not in (*replace, *add)]
        if missing:
            message = (
                f"leaves out {', '.join(missing)} of {info.name} {endpoint.environment};"
                " deliveries from there will be refused"
            )
            yield Advice((*location, "replace"), "missing-hosts", message)


def _one_list(
    members: tuple[IPNetwork | str, ...], others: tuple[IPNetwork, ...], location: Location
) -> Iterator[Advice]:
    for at, member in enumerate(members):
        if not isinstance(member, IPNetwork):
            continue
        if covers_all(member):
            yield Advice((*location, at), "everyone", f"{member} lets every address send")
    for at, outer in redundant_positions(members, others):
        yield Advice((*location, at), "redundant-network", f"is already within {outer}; remove it")


def _withdrawn(members: tuple[IPNetwork | str, ...], location: Location) -> Iterator[Advice]:
    for at, member in enumerate(members):
        if isinstance(member, IPNetwork) and _WITHDRAWN in member and not covers_all(member):
            message = f"Midtrans withdrew {_WITHDRAWN} on 2022-03-15; leave it out"
            yield Advice((*location, at), "withdrawn-address", message)


def _combined(
    configured: tuple[IPNetwork | str, ...], listed: tuple[IPNetwork, ...], location: Location
) -> Iterator[Advice]:
    # A configured network that covers everything by itself is reported at its own place.
    networks = [each for each in configured if isinstance(each, IPNetwork) and not covers_all(each)]
    for kind in families_mostly_covered((*listed, *networks)):
        message = (
            f"the networks together let half of all {kind} addresses or more send; name those of"
            " the sender"
        )
        yield Advice(location, "everyone", message)


def _sandbox(
    members: tuple[IPNetwork | str, ...], info: ProviderInfo, location: Location
) -> Iterator[Advice]:
    """Yield the members that belong to another environment, and not to production."""
    own = info.environments[_PRODUCTION]
    own_networks = set(_networks(own))
    for name, other in info.environments.items():
        networks = [each for each in _networks(other) if each not in own_networks]
        hosts = [host for host in other.hosts if host not in own.hosts]
        for at, member in enumerate(members):
            foreign = (
                member in hosts
                if isinstance(member, str)
                else any(member in network for network in networks)
            )
            if foreign:
                message = f"belongs to {info.name} {name}, and this endpoint is production"
                yield Advice((*location, at), "sandbox-address", message)


def _networks(environment: Environment) -> tuple[IPNetwork, ...]:
    return tuple(
        parse_network(text) for listing in environment.listings for text in listing.networks
    )


# ---- all rules ------------------------------------------------------------------------------

_PUBLIC = (None, "unspecified")
# Midtrans: HTTP notification, "only ports 80 and 443".
_MIDTRANS_PORTS = (80, 443)
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108 - to warn of them


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A warning; `line` and `column` count from 1, and `code` never changes."""

    file: str
    line: int
    column: int
    where: str
    code: str
    message: str

    def __str__(self) -> str:
        location = f"{self.where}: " if self.where else ""
        return f"{self.file}:{self.line}:{self.column}: warning: {location}{self.message}"


def lint(
    settings: Settings,
    info: Mapping[str, ProviderInfo],
    certificates: Mapping[Path, Certificate],
    today: date,
    machine: Iterable[Advice] = (),
) -> tuple[Finding, ...]:
    """Return every finding.

    info: of each endpoint's provider, by the endpoint's name. certificates: of listeners and
        upstreams, by file. machine: what was found out about the machine.
    """
    found = [
        *secret_advice(settings, info),
        *lint_topology.advice(settings, info),
        *upstream_advice(settings),
        *route_advice(settings, info),
        *credential_advice(settings, certificates, today),
        *privacy_advice(settings),
        *_certificates(settings, certificates, today),
        *_admin(settings),
        *_files(settings),
        *endpoint_advice(settings, info, today),
        *machine,
    ]
    return tuple(sorted({located(settings, advice) for advice in found}))


def located(settings: Settings, advice: Advice) -> Finding:
    """Return an advice as a finding, with its place in the file."""
    at = settings.source.position(advice.location)
    location = dotted(advice.location)
    return Finding(settings.source.file, at.line, at.column, location, advice.code, advice.message)


def _certificates(
    settings: Settings, certificates: Mapping[Path, Certificate], today: date
) -> Iterator[Advice]:
    for at, listener in enumerate(settings.listen):
        found = certificates.get(listener.tls.certificate) if listener.tls else None
        if found is None:
            continue
        location = ("listen", at, "tls", "certificate")
        end = found.not_after.date()
        if end - today < EXPIRY_NOTICE:
            verb = "ended" if end < today else "ends"
            message = f"the certificate {verb} on {end}; renew it"
            yield Advice(location, "certificate-ending", message)
        if found.self_signed and any(map(is_midtrans, settings.endpoints)):
            message = "the certificate is self-signed, and Midtrans refuses such; use a public one"
            yield Advice(location, "self-signed", message)
    yield from _midtrans_ports(settings)


def _midtrans_ports(settings: Settings) -> Iterator[Advice]:
    for at, endpoint in enumerate(settings.endpoints):
        if not is_midtrans(endpoint):
            continue
        if endpoint.public_url is not None:
            parts = urlsplit(endpoint.public_url)
            if (parts.port or DEFAULT_PORTS[parts.scheme]) not in _MIDTRANS_PORTS:
                message = "Midtrans reaches only ports 80 and 443"
                yield Advice(("endpoints", at, "public_url"), "midtrans-port", message)
        elif not settings.trusted_proxies:
            yield from _midtrans_listener(settings)


def _midtrans_listener(settings: Settings) -> Iterator[Advice]:
    public = [
        (at, listener.bind.port)
        for at, listener in enumerate(settings.listen)
        if special(listener.bind.address) in _PUBLIC
    ]
    if public and not any(port in _MIDTRANS_PORTS for _, port in public):
        message = (
            "Midtrans reaches only ports 80 and 443; listen on one of them, or write the"
            " endpoint's public_url if something in front forwards to this port"
        )
        yield Advice(("listen", public[0][0], "bind"), "midtrans-port", message)


def _admin(settings: Settings) -> Iterator[Advice]:
    admin = settings.admin
    if admin.bind.address.is_loopback:
        return
    if admin.token is None and admin.read_token is None:
        message = "anybody who reaches this address reads health and metrics; bind to 127.0.0.1"
    else:
        message = "the token crosses the network in clear text; bind to 127.0.0.1"
    yield Advice(("admin", "bind"), "admin-exposed", message)


def _files(settings: Settings) -> Iterator[Advice]:
    message = "what lies in a directory for temporary files is lost one day; choose another"
    beside: Path | None = None
    if isinstance(settings.spool, SqliteSpool):
        beside = settings.spool.path.parent
        if _is_temporary(settings.spool.path):
            yield Advice(("spool", "path"), "temporary-path", message)
    if settings.state_dir != beside and _is_temporary(settings.state_dir):
        yield Advice(("state_dir",), "temporary-path", message)


def _is_temporary(path: Path) -> bool:
    return any(path.is_relative_to(directory) for directory in _TEMPORARY)
