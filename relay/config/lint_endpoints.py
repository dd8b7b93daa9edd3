"""Lint rules for one endpoint and what it adds to its provider."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

from netaddr import IPAddress, IPNetwork

from relay.config import lint_inline
from relay.config.advice import Advice, everyone, mostly_everyone, repeated
from relay.config.endpoint import Endpoint
from relay.config.places import Place
from relay.config.settings import Settings
from relay.networks import parse_network
from relay.providers import Environment, Facts
from relay.sources import Mode

REVIEW_INTERVAL = timedelta(days=365)

# Midtrans prefixes the keys of its sandbox, and withdrew this address of the sandbox on 2022-03-15.
_SANDBOX_KEY = b"SB-Mid-server-"
_WITHDRAWN = IPAddress("103.58.103.177")
_PRODUCTION = "production"


def advice(settings: Settings, facts: Mapping[str, Facts], today: date) -> Iterator[Advice]:
    """Yield what is to be said of every endpoint that is in `facts`."""
    reviewed: set[str] = set()
    for at, endpoint in enumerate(settings.endpoints):
        known = facts.get(endpoint.name)
        if known is None:
            continue
        place = ("endpoints", at)
        yield from _mode(endpoint, known.environments[endpoint.environment], place)
        yield from _members(endpoint, known, place)
        yield from lint_inline.advice(endpoint, place)
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


def _unconfirmed(endpoint: Endpoint, facts: Facts, place: Place) -> Iterator[Advice]:
    can_ask = facts.environments[endpoint.environment].status_api is not None
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


def _members(endpoint: Endpoint, facts: Facts, place: Place) -> Iterator[Advice]:
    own = facts.environments[endpoint.environment]
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
        yield from _sandbox(replace or (), facts, (*place, "replace"))
        yield from _sandbox(add, facts, (*place, "add"))
    if replace is not None:
        missing = [host for host in own.hosts if host not in (*replace, *add)]
        if missing:
            message = (
                f"leaves out {', '.join(missing)} of {facts.name} {endpoint.environment};"
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


def _sandbox(members: tuple[IPNetwork | str, ...], facts: Facts, place: Place) -> Iterator[Advice]:
    """Yield the members that belong to another environment, and not to production."""
    own = facts.environments[_PRODUCTION]
    own_networks = set(_networks(own))
    for name, other in facts.environments.items():
        networks = [each for each in _networks(other) if each not in own_networks]
        hosts = [host for host in other.hosts if host not in own.hosts]
        for at, member in enumerate(members):
            foreign = (
                member in hosts
                if isinstance(member, str)
                else any(member in network for network in networks)
            )
            if foreign:
                message = f"belongs to {facts.name} {name}, and this endpoint is production"
                yield Advice((*place, at), "sandbox-address", message)


def _networks(environment: Environment) -> tuple[IPNetwork, ...]:
    return tuple(
        parse_network(text) for listing in environment.listings for text in listing.networks
    )
