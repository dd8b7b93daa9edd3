"""Warnings about where events are sent: to relay itself, or to a cloud's metadata service."""

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from relay.config.lint_topology import Advice
from relay.config.settings import Settings
from relay.config.types import Bind
from relay.core.egress import may_dial, spelled
from relay.core.request import Address
from relay.core.urls import DEFAULT_PORTS

#: Names of the services that hand out a machine's credentials to whoever asks from it.
_METADATA_NAMES = ("metadata", "metadata.google.internal", "instance-data", "metadata.azure.com")

_LOCAL_NAMES = ("localhost",)


def upstream_advice(settings: Settings) -> Iterator[Advice]:
    """Yield warnings about every upstream."""
    for name, upstream in settings.upstreams.items():
        location = ("upstreams", name, "url")
        parts = urlsplit(upstream.url)
        if (said := _metadata(parts)) is not None:
            yield Advice(location, "upstream-metadata", said)
        if (said := _itself(parts, settings)) is not None:
            yield Advice(location, "upstream-itself", said)


def _metadata(parts: SplitResult) -> str | None:
    host = (parts.hostname or "").rstrip(".")
    address = spelled(host)
    if host not in _METADATA_NAMES and (address is None or may_dial(address)):
        return None
    return (
        "is a cloud's metadata service or a link-local address, which takes no events; name yours"
    )


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
