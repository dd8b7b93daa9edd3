"""Endpoints in their providers' terms; checks that each fits its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import urlsplit

from relay.allowlist import Entry, Mode
from relay.allowlist.networks import families_mostly_covered, parse_network
from relay.config import presets
from relay.config.checks_snap import sender_issues, token_issues
from relay.config.checks_unsigned import unsigned_issues
from relay.config.inline_provider import CONFIGURATION, InlineProvider
from relay.config.path_overlaps import ClaimedPaths
from relay.config.secret_text import oddity, without_oddities
from relay.config.settings import Allowlist, Endpoint, TimeWindow
from relay.config.snap_sender import SnapSender
from relay.config.yaml_document import ConfigIssue, Location, shown, suggestion
from relay.core.secret import Secret
from relay.providers import (
    EndpointOptions,
    Environment,
    Provider,
    ProviderInfo,
    Window,
)
from relay.providers.builtin import UnknownProvider, names, provider_named
from relay.providers.inline import PUBLIC_KEY_SCHEMES
from relay.providers.inline import provider as inline
from relay.providers.inline.problems import problems
from relay.providers.inline.verifiers import is_written_key

# ---- an endpoint in its provider's terms ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExpectedSources:
    """The sources of an endpoint: networks, each with its origin, and DNS host names."""

    networks: tuple[Entry, ...]
    hosts: tuple[str, ...]


def provider_of(endpoint: Endpoint) -> Provider:
    """Return the provider of an endpoint, built in or described in the file.

    Raises:
        relay.providers.builtin.UnknownProvider: there is none of the name that the endpoint gives.
        ValueError: the description is not valid.
    """
    if isinstance(endpoint.provider, str):
        return provider_named(endpoint.provider)
    if isinstance(endpoint.provider, SnapSender):
        return endpoint.provider.provider()
    return inline.InlineProvider(endpoint.provider.description())


def provider_name(endpoint: Endpoint) -> str:
    """Return the name of an endpoint's provider."""
    return endpoint.provider if isinstance(endpoint.provider, str) else endpoint.provider.name


def endpoint_options(endpoint: Endpoint, info: ProviderInfo) -> EndpointOptions:
    """Return the options that this endpoint gives its provider."""
    return EndpointOptions(
        secrets=endpoint.secrets,
        public_url=endpoint.public_url,
        window=_window(endpoint, info),
        order_id_pattern=endpoint.order_id_pattern,
        partner_id=endpoint.partner_id,
        callback=endpoint.callback,
        enforced=_enforced(endpoint),
        must=tuple(each.rule() for each in endpoint.must),
        merchant_id=endpoint.merchant_id,
        tokens=None if endpoint.tokens is None else endpoint.tokens.rules(),
    )


def senders(endpoint: Endpoint, environment: Environment) -> ExpectedSources:
    """Return the expected sources: configured ones, and the provider's own unless replaced."""
    configured = (*(endpoint.allowlist.replace or ()), *endpoint.allowlist.add)
    networks = [Entry(each, CONFIGURATION) for each in Allowlist.networks(configured)]
    hosts = Allowlist.hosts(configured)
    if endpoint.allowlist.replace is None:
        networks = [*_listed(environment), *networks]
        hosts = (*environment.hosts, *hosts)
    return ExpectedSources(tuple(networks), tuple(dict.fromkeys(hosts)))


def _enforced(endpoint: Endpoint) -> bool:
    allowlist = endpoint.allowlist
    members = Allowlist.networks((*allowlist.add, *(allowlist.replace or ())))
    return allowlist.mode is Mode.ENFORCE and not any(families_mostly_covered(members))


@cache
def _listed(environment: Environment) -> tuple[Entry, ...]:
    return tuple(
        Entry(parse_network(text), listing.origin)
        for listing in environment.listings
        for text in listing.networks
    )


def _window(endpoint: Endpoint, info: ProviderInfo) -> Window | None:
    if endpoint.timestamp is None:
        return info.window
    if isinstance(endpoint.timestamp, TimeWindow):
        return Window(endpoint.timestamp.past, endpoint.timestamp.future)
    return Window(past=None, future=None)


# ---- checks of one endpoint -----------------------------------------------------------------

_KEYS = {"window": "timestamp"}

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def issues(endpoint: Endpoint, location: Location) -> Iterator[ConfigIssue]:
    """Yield what does not fit its provider; only what needs none, if that is not known."""
    yield from unsigned_issues(endpoint, location)
    yield from token_issues(endpoint, location)
    if not isinstance(endpoint.provider, str):
        wrong = [*_described(endpoint.provider, (*location, "provider"))]
        yield from wrong
        if wrong:
            return
    try:
        found = provider_of(endpoint)
    except UnknownProvider as error:
        yield ConfigIssue((*location, "provider"), _no_provider(error))
        return
    if endpoint.timestamp is not None and found.info.window is None:
        message = f"{found.info.name} signs no time; leave the key out"
        yield ConfigIssue((*location, "timestamp"), message, ((*location, "provider"),))
    if endpoint.callback is not None and endpoint.callback not in found.info.callbacks:
        message = f"{found.info.name} has no callback products; leave the key out"
        yield ConfigIssue((*location, "callback"), message, ((*location, "provider"),))
    options = endpoint_options(endpoint, found.info)
    unusable = [*_options(options, oddities(endpoint), found, location)]
    yield from unusable
    refused = {issue.location for issue in unusable}
    yield from (each for each in _unfitting(endpoint, location) if each.location not in refused)
    yield from _environment(endpoint, found.info, location)


def environment(endpoint: Endpoint, info: ProviderInfo) -> str:
    """Return the name of the endpoint's environment: the only one where none is given."""
    if not endpoint.environment and len(info.environments) == 1:
        return next(iter(info.environments))
    return endpoint.environment


def claimed_paths(endpoints: Sequence[Endpoint]) -> list[ClaimedPaths]:
    """Return the paths of each endpoint whose provider, and its product, are known."""
    found = []
    for at, endpoint in enumerate(endpoints):
        info = known_info(endpoint)
        if info is None or (
            endpoint.callback is not None and endpoint.callback not in info.callbacks
        ):
            continue
        shapes = info.shapes_of(endpoint.callback)
        found.append(ClaimedPaths(endpoint.name, endpoint.path, shapes, ("endpoints", at)))
    return found


def known_info(endpoint: Endpoint) -> ProviderInfo | None:
    """Return the info of an endpoint's provider; None where the provider has mistakes."""
    described = endpoint.provider
    if not isinstance(described, str) and any(_described(described, ())):
        return None
    try:
        return provider_of(endpoint).info
    except UnknownProvider:
        return None


def _described(described: InlineProvider | SnapSender, location: Location) -> Iterator[ConfigIssue]:
    """Yield the issues of a described provider."""
    if described.name in names():
        yield ConfigIssue((*location, "name"), "is built in; choose another name for this one")
    if isinstance(described, SnapSender):
        yield from sender_issues(described, location)
        return
    for keys, message in problems(described.description()):
        yield ConfigIssue((*location, *keys), message)


def _no_provider(error: UnknownProvider) -> str:
    return f'no provider named "{shown(error.name)}"; {suggestion(error.name, presets.names())}'


def _environment(
    endpoint: Endpoint, info: ProviderInfo, location: Location
) -> Iterator[ConfigIssue]:
    needs = ((*location, "provider"),)
    name = environment(endpoint, info)
    if not name:
        message = f"this key is needed; write one of {', '.join(info.environments)}"
        yield ConfigIssue((*location, "environment"), message, needs)
    elif name not in info.environments:
        near = suggestion(name, info.environments)
        message = f'{info.name} has no environment "{shown(name)}"; {near}'
        yield ConfigIssue((*location, "environment"), message, needs)
    else:
        yield from _senders(endpoint, info.environments[name], location)
        yield from _confirm(endpoint, info, info.environments[name], location)


def _confirm(
    endpoint: Endpoint, info: ProviderInfo, chosen: Environment, location: Location
) -> Iterator[ConfigIssue]:
    if endpoint.confirm is None:
        return
    confirm = (*location, "confirm")
    needs = ((*location, "provider"), (*location, "environment"))
    if chosen.status_api is None:
        message = f"{info.name} cannot be asked for a status; leave the key out"
        yield ConfigIssue(confirm, message, needs)
        return
    if endpoint.mode == "proxy":
        message = "needs mode: store; what is passed on at once is not asked about"
        yield ConfigIssue(confirm, message, (*needs, (*location, "mode")))
    asks_with = endpoint.secrets or endpoint.confirm.key is not None
    if not asks_with and endpoint.unsigned == "accept":
        message = "needs secrets: the server key is what the status is asked with"
        yield ConfigIssue(
            confirm, message, (*needs, (*location, "secrets"), (*location, "unsigned"))
        )
    if endpoint.confirm.url is not None and not _is_confidential(endpoint.confirm.url):
        message = "must be https: the server key is sent there"
        yield ConfigIssue((*confirm, "url"), message, needs)


def _is_confidential(url: str) -> bool:
    """Return whether a request to this URL is encrypted or stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in _LOOPBACK


#: Keys of Midtrans for the browser: public, and signing nothing.
_CLIENT_KEYS = (b"Mid-client-", b"SB-Mid-client-")


def client_key(secret: Secret) -> str | None:
    """Return what is wrong with a secret of Midtrans that is a client key."""
    if not without_oddities(secret.reveal()).startswith(_CLIENT_KEYS):
        return None
    return "is a client key, which signs nothing; take the server key that stands beside it"


def oddities(endpoint: Endpoint) -> list[str | None]:
    """Return what is odd about each secret; nothing where they are public keys, in any spelling."""
    provider = endpoint.provider
    scheme = provider.signature.scheme if isinstance(provider, InlineProvider) else ""
    asymmetric = isinstance(provider, SnapSender) and provider.snap.signature == "asymmetric"
    if provider == "midtrans-snap" or asymmetric or scheme in PUBLIC_KEY_SCHEMES:
        return [None] * len(endpoint.secrets)
    keys = scheme == "jwt"
    return [None if keys and is_written_key(each) else oddity(each) for each in endpoint.secrets]


def is_certain(endpoint: Endpoint) -> bool:
    """Return whether secrets with oddities fit nothing: the sender's never have any.

    Midtrans and Vipps make theirs of visible letters, and a header field carries no others.
    """
    if isinstance(endpoint.provider, InlineProvider):
        return endpoint.provider.signature.scheme == "token"
    return True


def _unfitting(endpoint: Endpoint, location: Location) -> Iterator[ConfigIssue]:
    """Yield each secret of an endpoint where none can fit anything."""
    found = []
    for secret, odd in zip(endpoint.secrets, oddities(endpoint), strict=True):
        said = client_key(secret) if endpoint.provider == "midtrans" else None
        if said is None and odd is not None and is_certain(endpoint):
            said = f"{odd}: nothing can fit it; write it without"
        found.append(said)
    if None not in found:
        for at, said in enumerate(found):
            needs = ((*location, "provider"),)
            yield ConfigIssue((*location, "secrets", at), str(said), needs)


def _senders(endpoint: Endpoint, chosen: Environment, location: Location) -> Iterator[ConfigIssue]:
    allowed = senders(endpoint, chosen)
    needs = ((*location, "provider"), (*location, "environment"), (*location, "allowlist"))
    if endpoint.allowlist.mode is Mode.OFF or allowed.networks or allowed.hosts:
        return
    if endpoint.allowlist.replace is None:
        message = (
            "nobody could send; name networks or host names here or in allowlist.add, or write"
            " allowlist: {mode: off} and rely on the signature alone"
        )
        yield ConfigIssue((*location, "provider", "networks"), message, needs)
    else:
        message = "nobody could send; name networks or host names, or leave replace out"
        yield ConfigIssue((*location, "allowlist", "replace"), message, needs)


def _options(
    whole: EndpointOptions,
    odd_secrets: Sequence[str | None],
    found: Provider,
    location: Location,
) -> Iterator[ConfigIssue]:
    # One option at a time, since a provider names only the first that it cannot use.
    parts = (
        EndpointOptions(public_url=whole.public_url),
        EndpointOptions(window=whole.window),
        EndpointOptions(order_id_pattern=whole.order_id_pattern),
        EndpointOptions(partner_id=whole.partner_id),
        EndpointOptions(merchant_id=whole.merchant_id),
        EndpointOptions(tokens=whole.tokens),
        *(
            (EndpointOptions(callback=whole.callback),)
            if whole.callback in found.info.callbacks
            else ()
        ),
    )
    known = [issue for part in parts for issue in _bind(part, found, location, 0)]
    # Some secrets are of use only beside a URL.
    url = None if _bind(parts[0], found, location, 0) else whole.public_url
    for at, (secret, odd) in enumerate(zip(whole.secrets, odd_secrets, strict=True)):
        refused = _bind(EndpointOptions(secrets=(secret,), public_url=url), found, location, at)
        known += [
            replace(issue, message=f"{issue.message} (it {odd})") if odd else issue
            for issue in refused
        ]
    usable = whole if whole.callback in found.info.callbacks else replace(whole, callback=None)
    yield from dict.fromkeys(known or _bind(usable, found, location, 0))


def _bind(
    part: EndpointOptions, found: Provider, location: Location, secret: int
) -> list[ConfigIssue]:
    try:
        found.bind(part)
    except ValueError as error:
        name, _, message = str(error).partition(": ")
        key, *inner = name.split(".")
        where = (*location, _KEYS.get(key, key))
        for step in inner:
            # Secrets are tried one at a time.
            first = secret if key == "secrets" else 0
            where = (*where, int(step) + first if step.isdecimal() else step)
        return [ConfigIssue(where, message, ((*location, "provider"),))]
    return []
