"""An endpoint of the settings in the words of its provider."""

from dataclasses import dataclass
from functools import cache

from relay import plugins
from relay.config.advice import mostly_everyone
from relay.config.endpoint import Allowlist, Endpoint, TimeWindow
from relay.config.inline import CONFIGURATION
from relay.inline import provider as inline
from relay.networks import parse_network
from relay.providers import Environment, Facts, Provider, Terms, Window
from relay.sources import Entry, Mode


@dataclass(frozen=True, slots=True)
class Senders:
    """Who may send to an endpoint: networks, each with its origin, and DNS host names."""

    networks: tuple[Entry, ...]
    hosts: tuple[str, ...]


@cache
def provider(name: str) -> Provider:
    """Return a built-in provider.

    Raises:
        relay.plugins.UnknownPlugin: there is none of that name.
    """
    found: Provider = plugins.load("providers", name).PROVIDER
    return found


def provider_of(endpoint: Endpoint) -> Provider:
    """Return the provider of an endpoint, built in or described in the file.

    Raises:
        relay.plugins.UnknownPlugin: there is none of the name that the endpoint gives.
        ValueError: the description cannot be meant as it stands.
    """
    if isinstance(endpoint.provider, str):
        return provider(endpoint.provider)
    return inline.InlineProvider(endpoint.provider.description())


def provider_name(endpoint: Endpoint) -> str:
    """Return the name of an endpoint's provider."""
    return endpoint.provider if isinstance(endpoint.provider, str) else endpoint.provider.name


def terms(endpoint: Endpoint, facts: Facts) -> Terms:
    """Return what this endpoint says to its provider."""
    return Terms(
        secrets=endpoint.secrets,
        public_url=endpoint.public_url,
        window=_window(endpoint, facts),
        order_id_pattern=endpoint.order_id_pattern,
        partner_id=endpoint.partner_id,
        callback=endpoint.callback,
        enforced=_enforced(endpoint),
    )


def senders(endpoint: Endpoint, environment: Environment) -> Senders:
    """Return who may send: what is configured, and the provider's own unless it is replaced."""
    configured = (*(endpoint.allowlist.replace or ()), *endpoint.allowlist.add)
    networks = [Entry(each, CONFIGURATION) for each in Allowlist.networks(configured)]
    hosts = Allowlist.hosts(configured)
    if endpoint.allowlist.replace is None:
        networks = [*_listed(environment), *networks]
        hosts = (*environment.hosts, *hosts)
    return Senders(tuple(networks), tuple(dict.fromkeys(hosts)))


def _enforced(endpoint: Endpoint) -> bool:
    allowlist = endpoint.allowlist
    members = Allowlist.networks((*allowlist.add, *(allowlist.replace or ())))
    return allowlist.mode is Mode.ENFORCE and not any(mostly_everyone(members))


@cache
def _listed(environment: Environment) -> tuple[Entry, ...]:
    return tuple(
        Entry(parse_network(text), listing.origin)
        for listing in environment.listings
        for text in listing.networks
    )


def _window(endpoint: Endpoint, facts: Facts) -> Window | None:
    if endpoint.timestamp is None:
        return facts.window
    if isinstance(endpoint.timestamp, TimeWindow):
        return Window(endpoint.timestamp.past, endpoint.timestamp.future)
    return Window(past=None, future=None)
