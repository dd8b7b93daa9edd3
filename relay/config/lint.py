"""Warnings about a valid configuration that its author may not have meant.

Pure: files, providers and the date are handed in. Findings are in the order of the file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from netaddr import IPAddress, IPNetwork

from relay.allowlist import Mode
from relay.allowlist.networks import everyone, mostly_everyone, parse_network, repeated, special
from relay.config import lint_topology
from relay.config.checks import Certificate
from relay.config.inline_provider import InlineProvider
from relay.config.lint_topology import Advice
from relay.config.settings import Endpoint, Settings, SqliteSpool
from relay.config.yaml_document import Place, dotted
from relay.providers import Environment, ProviderInfo
from relay.providers.inline import Description
from relay.providers.inline.signature import key
from relay.providers.inline.signed_text import Template

# ---- a described provider -------------------------------------------------------------------

#: RFC 2104 discourages keys shorter than the hash, and 128 bits are what nobody guesses.
SHORTEST_SECRET = 16


def inline_advice(endpoint: Endpoint, place: Place) -> Iterator[Advice]:
    """Yield what is to be said of this endpoint; nothing for a built-in provider."""
    if not isinstance(endpoint.provider, InlineProvider):
        return
    description = endpoint.provider.description()
    yield from _short_secrets(endpoint, description, place)
    yield from _others_unsigned(description, (*place, "provider", "signature", "signed"))


def _short_secrets(endpoint: Endpoint, described: Description, place: Place) -> Iterator[Advice]:
    if described.signature.scheme in {"rsa", "ed25519"}:
        return
    for at, secret in enumerate(endpoint.secrets):
        # Its length is not told either.
        if len(key(described.signature, secret).reveal()) < SHORTEST_SECRET:
            message = (
                f"is shorter than {SHORTEST_SECRET} bytes and could be guessed; have the sender"
                " use a long random one"
            )
            yield Advice((*place, "secrets", at), "short-secret", message)


def _others_unsigned(described: Description, place: Place) -> Iterator[Advice]:
    if described.signature.scheme == "token" or described.single is not None:
        return
    template = Template(described.signature.signed)
    if template.covers_body:
        return
    lists = dict.fromkeys(name.partition("/0/")[0] for name in template.fields if "/0/" in name)
    for name in lists:
        message = f"covers one entry of /{name}, and others would pass; write single: /{name}"
        yield Advice(place, "others-unsigned", message)


# ---- one endpoint ---------------------------------------------------------------------------

REVIEW_INTERVAL = timedelta(days=365)

# Midtrans prefixes the keys of its sandbox, and withdrew this address of the sandbox on 2022-03-15.
_SANDBOX_KEY = b"SB-Mid-server-"
_WITHDRAWN = IPAddress("103.58.103.177")
_PRODUCTION = "production"


def endpoint_advice(
    settings: Settings, info: Mapping[str, ProviderInfo], today: date
) -> Iterator[Advice]:
    """Yield what is to be said of every endpoint that is in `facts`."""
    reviewed: set[str] = set()
    for at, endpoint in enumerate(settings.endpoints):
        known = info.get(endpoint.name)
        if known is None:
            continue
        place = ("endpoints", at)
        yield from _mode(endpoint, known.environments[endpoint.environment], place)
        yield from _members(endpoint, known, place)
        yield from inline_advice(endpoint, place)
        if endpoint.environment == _PRODUCTION:
            yield from _sandbox_keys(endpoint, place)
        yield from _unconfirmed(endpoint, known, place)
        if known.name not in reviewed and today - known.reviewed > REVIEW_INTERVAL:
            reviewed.add(known.name)
            message = (
                f"what is built in for {known.name} was compared with {known.document} on"
                f" {known.reviewed}, more than a year ago; compare it, or update the relay"
            )
            yield Advice((*place, "provider"), "old-review", message)


def is_midtrans(endpoint: Endpoint) -> bool:
    """Tell whether a built-in provider of Midtrans is spoken to."""
    return isinstance(endpoint.provider, str) and endpoint.provider.startswith("midtrans")


def _mode(endpoint: Endpoint, environment: Environment, place: Place) -> Iterator[Advice]:
    # Who publishes no addresses leaves nothing to enforce.
    published = environment.listings or environment.hosts
    if endpoint.allowlist.mode is Mode.OFF and published:
        message = "anybody may send; only the signature is checked"
        yield Advice((*place, "allowlist", "mode"), "allowlist-off", message)
    if endpoint.allowlist.mode is Mode.REPORT:
        message = "anybody may send, and other addresses are only counted; enforce refuses them"
        yield Advice((*place, "allowlist", "mode"), "allowlist-report", message)


def _unconfirmed(endpoint: Endpoint, info: ProviderInfo, place: Place) -> Iterator[Advice]:
    can_ask = info.environments[endpoint.environment].status_api is not None
    if can_ask and endpoint.secrets and endpoint.mode == "store" and endpoint.confirm is None:
        message = (
            "its signature covers three fields, and the status is none of them; confirm: {with:"
            " status} asks before delivery"
        )
        yield Advice((*place, "provider"), "unconfirmed", message)


def _sandbox_keys(endpoint: Endpoint, place: Place) -> Iterator[Advice]:
    for at, secret in enumerate(endpoint.secrets):
        # Only the kind of key is told, as its prefix shows it.
        if secret.reveal().startswith(_SANDBOX_KEY):
            message = "is a server key of the sandbox; production has another"
            yield Advice((*place, "secrets", at), "sandbox-key", message)


def _members(endpoint: Endpoint, info: ProviderInfo, place: Place) -> Iterator[Advice]:
    own = info.environments[endpoint.environment]
    place = (*place, "allowlist")
    replace, add = endpoint.allowlist.replace, endpoint.allowlist.add
    listed = _networks(own) if replace is None else ()
    yield from _one_list(replace or (), listed, (*place, "replace"))
    kept = tuple(each for each in replace or () if isinstance(each, IPNetwork))
    yield from _one_list(add, (*listed, *kept), (*place, "add"))
    configured = (*(replace or ()), *add)
    if is_midtrans(endpoint):
        yield from _withdrawn(replace or (), (*place, "replace"))
        yield from _withdrawn(add, (*place, "add"))
    yield from _together(configured, listed, place if configured else (*place[:-1], "provider"))
    if endpoint.environment == _PRODUCTION:
        yield from _sandbox(replace or (), info, (*place, "replace"))
        yield from _sandbox(add, info, (*place, "add"))
    if replace is not None:
        missing = [host for host in own.hosts if host not in (*replace, *add)]
        if missing:
            message = (
                f"leaves out {', '.join(missing)} of {info.name} {endpoint.environment};"
                " deliveries from there will be refused"
            )
            yield Advice((*place, "replace"), "missing-hosts", message)


def _one_list(
    members: tuple[IPNetwork | str, ...], others: tuple[IPNetwork, ...], place: Place
) -> Iterator[Advice]:
    for at, member in enumerate(members):
        if not isinstance(member, IPNetwork):
            continue
        if everyone(member):
            yield Advice((*place, at), "everyone", f"{member} lets every address send")
    for at, outer in repeated(members, others):
        yield Advice((*place, at), "redundant-network", f"is already within {outer}; remove it")


def _withdrawn(members: tuple[IPNetwork | str, ...], place: Place) -> Iterator[Advice]:
    for at, member in enumerate(members):
        if isinstance(member, IPNetwork) and _WITHDRAWN in member and not everyone(member):
            message = f"Midtrans withdrew {_WITHDRAWN} on 2022-03-15; leave it out"
            yield Advice((*place, at), "withdrawn-address", message)


def _together(
    configured: tuple[IPNetwork | str, ...], listed: tuple[IPNetwork, ...], place: Place
) -> Iterator[Advice]:
    # A configured network that is everybody by itself is spoken of where it stands.
    networks = [each for each in configured if isinstance(each, IPNetwork) and not everyone(each)]
    for kind in mostly_everyone((*listed, *networks)):
        message = (
            f"the networks together let half of all {kind} addresses or more send; name those of"
            " the sender"
        )
        yield Advice(place, "everyone", message)


def _sandbox(
    members: tuple[IPNetwork | str, ...], info: ProviderInfo, place: Place
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
                yield Advice((*place, at), "sandbox-address", message)


def _networks(environment: Environment) -> tuple[IPNetwork, ...]:
    return tuple(
        parse_network(text) for listing in environment.listings for text in listing.networks
    )


# ---- all rules ------------------------------------------------------------------------------

EXPIRY_NOTICE = timedelta(days=30)

_PUBLIC = (None, "unspecified")
_DEFAULT_PORTS = {"http": 80, "https": 443}
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
        place = f"{self.where}: " if self.where else ""
        return f"{self.file}:{self.line}:{self.column}: warning: {place}{self.message}"


def lint(
    settings: Settings,
    info: Mapping[str, ProviderInfo],
    certificates: Mapping[Path, Certificate],
    today: date,
) -> tuple[Finding, ...]:
    """Return every finding.

    facts: of each endpoint's provider, by the endpoint's name. certificates: of the public
        listeners, by file.
    """
    found = [
        *_secrets(settings),
        *lint_topology.advice(settings, info),
        *_certificates(settings, certificates, today),
        *_admin(settings),
        *_files(settings),
        *endpoint_advice(settings, info, today),
    ]
    return tuple(sorted({_finding(settings, advice) for advice in found}))


def _finding(settings: Settings, advice: Advice) -> Finding:
    at = settings.source.position(advice.place)
    place = dotted(advice.place)
    return Finding(settings.source.file, at.line, at.column, place, advice.code, advice.message)


def _secrets(settings: Settings) -> Iterator[Advice]:
    for place in settings.source.literals:
        message = "a secret stands in the file; write ${env:NAME} or ${file:PATH}"
        yield Advice(place, "literal-secret", message)


def _certificates(
    settings: Settings, certificates: Mapping[Path, Certificate], today: date
) -> Iterator[Advice]:
    for at, listener in enumerate(settings.listen):
        found = certificates.get(listener.tls.certificate) if listener.tls else None
        if found is None:
            continue
        place = ("listen", at, "tls", "certificate")
        end = found.not_after.date()
        if end - today < EXPIRY_NOTICE:
            verb = "ended" if end < today else "ends"
            message = f"the certificate {verb} on {end}; renew it"
            yield Advice(place, "certificate-ending", message)
        if found.self_signed and any(map(is_midtrans, settings.endpoints)):
            message = "the certificate is self-signed, and Midtrans refuses such; use a public one"
            yield Advice(place, "self-signed", message)
    yield from _midtrans_ports(settings)


def _midtrans_ports(settings: Settings) -> Iterator[Advice]:
    for at, endpoint in enumerate(settings.endpoints):
        if not is_midtrans(endpoint):
            continue
        if endpoint.public_url is not None:
            parts = urlsplit(endpoint.public_url)
            if (parts.port or _DEFAULT_PORTS[parts.scheme]) not in _MIDTRANS_PORTS:
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
    if admin.token is None:
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
