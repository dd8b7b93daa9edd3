"""Warnings about where events are sent: to relay itself, or to a cloud's metadata service."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from relay.config.lint_topology import Advice
from relay.config.settings import Settings
from relay.config.types import Bind
from relay.config.upstream_settings import OAuth2Auth, Upstream
from relay.core.egress import may_dial, spelled
from relay.core.request import Address
from relay.core.urls import DEFAULT_PORTS

#: Names of the services that hand out a machine's credentials to whoever asks from it.
_METADATA_NAMES = ("metadata", "metadata.google.internal", "instance-data", "metadata.azure.com")

_LOCAL_NAMES = ("localhost",)


def upstream_advice(settings: Settings) -> Iterator[Advice]:
    """Yield warnings about every upstream."""
    used = {name for endpoint in settings.endpoints for name in endpoint.every_upstream}
    for name, upstream in settings.upstreams.items():
        if name not in used:
            message = "no endpoint leads here: it gets what is requeued with --to, and nothing else"
            yield Advice(("upstreams", name), "upstream-unused", message)
        elif _only_passed_on(settings, name):
            yield from _without_effect(settings, name)
        yield from _given_up_early(upstream, name)
        location = ("upstreams", name, "url")
        parts = urlsplit(upstream.url)
        if (said := _metadata(parts, upstream)) is not None:
            yield Advice(
                location, "upstream-metadata", f"{said}, which takes no events; name yours"
            )
        if isinstance(upstream.auth, OAuth2Auth):
            said = _metadata(urlsplit(upstream.auth.oauth2.token_url), upstream)
            if said is not None:
                where = (*location[:-1], "auth", "oauth2", "token_url")
                message = f"{said}, which relay asks for no token; name your token server"
                yield Advice(where, "upstream-metadata", message)
        if (said := _itself(parts, settings)) is not None:
            yield Advice(location, "upstream-itself", said)


#: Keys that are about events that wait: their rate, their order, and when they are given up.
_OF_STORED = ("rate", "paused", "final", "order_by_key", "retry")
#: Statuses of a service that is not well, or busy, for a while.
_PASSING = (408, 425, 429, 502, 503, 504)


def _only_passed_on(settings: Settings, name: str) -> bool:
    modes = [each.mode for each in settings.endpoints if name in each.every_upstream]
    return all(mode == "proxy" for mode in modes)


def _without_effect(settings: Settings, name: str) -> Iterator[Advice]:
    """Yield each key that is written, and that nothing uses which is passed on at once."""
    upstream = settings.upstreams[name]
    for key in _OF_STORED:
        location = ("upstreams", name, key)
        if location in settings.source.values and getattr(upstream, key):
            message = (
                "has no effect: only endpoints with mode: proxy lead here, whose deliveries are"
                " tried once, at once"
            )
            yield Advice(location, "proxy-without-effect", message)


def _given_up_early(upstream: Upstream, name: str) -> Iterator[Advice]:
    for at, status in enumerate(upstream.final):
        if status in _PASSING:
            message = (
                f"{status} passes as a rule: what comes while the service is busy or away is dead"
                " at once; leave it out"
            )
            yield Advice(("upstreams", name, "final", at), "final-passing", message)


def _metadata(parts: SplitResult, upstream: Upstream) -> str | None:
    host = (parts.hostname or "").rstrip(".")
    address = spelled(host)
    allowed = [ip_network(str(each.cidr)) for each in upstream.allow_addresses]
    if host not in _METADATA_NAMES and (address is None or may_dial(address, allowed)):
        return None
    return "is a cloud's metadata service or a link-local address"


def _itself(parts: SplitResult, settings: Settings) -> str | None:
    """Return what is wrong with an upstream that is this relay, by its listeners or public URL."""
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    for location, bind in settings.binds():
        if bind.port == port and _reaches(parts.hostname or "", bind):
            key = ".".join(map(str, location))
            return f"is relay itself, by {key}: each event would come back; name your service"
    for endpoint in settings.endpoints:
        if endpoint.public_url is None:
            continue
        public = urlsplit(endpoint.public_url)
        same = (public.hostname, public.path) == (parts.hostname, parts.path)
        if same and (public.port or DEFAULT_PORTS[public.scheme]) == port:
            return (
                f"is the public URL of the endpoint {endpoint.name}: each event would come back;"
                " name your service"
            )
    return None


def _reaches(host: str, bind: Bind) -> bool:
    """Return whether a host of this name or address is that of a listener."""
    host = host.rstrip(".")
    address = _address(host)
    if address is None:
        local = bind.address.is_loopback or bind.address.is_unspecified
        return host in _LOCAL_NAMES and local
    if bind.address.is_unspecified:
        return address.version == bind.address.version and (
            address.is_loopback or address.is_unspecified
        )
    return address == bind.address or (address.is_unspecified and bind.address.is_loopback)


def _address(host: str) -> Address | None:
    """Return the address that is written here; of IPv4 in either way of writing it."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
