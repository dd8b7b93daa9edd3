"""Warnings about listeners, proxies and the networks they trust.

A listener has IPv4 connections or IPv6 connections, never both: `[::]` is IPv6 alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netaddr import IPNetwork

from relay.allowlist import Mode
from relay.allowlist.networks import (
    covers_all,
    families_mostly_covered,
    redundant_positions,
    special,
)
from relay.config.endpoints import ExpectedSources, senders
from relay.config.settings import Endpoint, Listener, Settings
from relay.config.yaml_document import Location
from relay.providers import ProviderInfo

# ---- one warning ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Advice:
    """One warning about one place."""

    location: Location
    code: str
    message: str


# ---- rules ----------------------------------------------------------------------------------

_BEHIND_A_PROXY = ("private", "loopback", "link-local", "carrier-grade NAT")
_ANYWHERE = {4: "0.0.0.0", 6: "[::]"}  # noqa: S104 - to write, not to bind
_HERE = {4: "127.0.0.1", 6: "[::1]"}
_LOOPBACK = {4: IPNetwork("127.0.0.0/8"), 6: IPNetwork("::1/128")}


def advice(settings: Settings, info: Mapping[str, ProviderInfo]) -> Iterator[Advice]:
    """Yield warnings about listeners and trusted proxies.

    info: of each endpoint's provider, by the endpoint's name.
    """
    yield from _proxies(settings)
    known = {
        endpoint.name: (endpoint, senders(endpoint, info[endpoint.name].environments[at]))
        for endpoint in settings.endpoints
        if endpoint.name in info
        for at in (endpoint.environment,)
    }
    yield from _sending_proxies(settings, known)
    if settings.trusted_proxies:
        yield from _unreachable(settings)
        yield from _two_ways_in(settings)
    else:
        yield from _without_proxies(settings)
        yield from _other_family(settings, known)
    yield from _header(settings)


def _proxies(settings: Settings) -> Iterator[Advice]:
    location = ("trusted_proxies",)
    proxy_protocol = any(listener.proxy_protocol for listener in settings.listen)
    header = "PROXY header" if proxy_protocol else "forwarding header"
    for at, network in enumerate(settings.trusted_proxies):
        if covers_all(network):
            message = f"{network} believes anybody's {header}; name your own proxies"
            yield Advice((*location, at), "everyone", message)
    for kind in families_mostly_covered(n for n in settings.trusted_proxies if not covers_all(n)):
        message = (
            f"together these believe the {header} of half of all {kind} addresses or more; name"
            " your own proxies"
        )
        yield Advice(location, "everyone", message)
    for at, outer in redundant_positions(settings.trusted_proxies, ()):
        message = f"is already within {outer}; remove it"
        yield Advice((*location, at), "redundant-network", message)


_Known = Mapping[str, tuple[Endpoint, ExpectedSources]]


def _sending_proxies(settings: Settings, known: _Known) -> Iterator[Advice]:
    """Yield the trusted proxies that may send as well: a request of their own is refused."""
    allowed = {name: [each.network for each in who.networks] for name, (_, who) in known.items()}
    for at, proxy in enumerate(settings.trusted_proxies):
        names = [
            name
            for name, networks in allowed.items()
            if any(proxy in each or each in proxy for each in networks if not covers_all(each))
        ]
        if names and not covers_all(proxy):
            message = (
                f"{proxy} is taken for a proxy's, and {', '.join(names)} may be sent to from there;"
                " what comes from there by itself is refused, so name your own proxies only"
            )
            yield Advice(("trusted_proxies", at), "sender-trusted", message)


def _unreachable(settings: Settings) -> Iterator[Advice]:
    """Yield the listeners that no trusted proxy can reach, or the proxies if they reach none."""
    found = False
    for at, listener in enumerate(settings.listen):
        message = _unreached(listener, settings.trusted_proxies)
        if message is not None:
            found = True
            yield Advice(("listen", at, "bind"), "proxy-not-trusted", message)
    if found or any(_reaching(each, settings.trusted_proxies) for each in settings.listen):
        return
    message = (
        "none of these can connect to a listener: IPv4 listeners hear IPv4 alone, IPv6 listeners"
        " IPv6 alone, and a proxy on this machine comes from the address that it connects to"
    )
    yield Advice(("trusted_proxies",), "proxy-not-trusted", message)


def _two_ways_in(settings: Settings) -> Iterator[Advice]:
    """Yield the listeners where a client could forge its address through a proxy of bytes.

    Such a proxy writes PROXY headers to other listeners, and is trusted here for a header that it
    never parses. A loopback listener is for a proxy on this machine; whether that one forwards
    bytes to the wrong port depends on its own configuration.
    """
    others = [each for each in settings.trusted_proxies if each not in _LOOPBACK[each.version]]
    with_header = [each for each in settings.listen if each.proxy_protocol]
    sending = [proxy for proxy in others if any(_reaching(each, (proxy,)) for each in with_header)]
    for at, listener in enumerate(settings.listen):
        if listener.proxy_protocol or listener.bind.address.is_loopback:
            continue
        near = _reaching(listener, tuple(sending))
        if near:
            names = ", ".join(map(str, near))
            message = (
                f"{names} can connect here without a PROXY header too, and whoever is behind a"
                f" proxy that forwards bytes then writes {settings.forwarded_header} itself; add"
                " proxy_protocol: true, or bind to an address that this proxy does not reach, such"
                f" as {_HERE[listener.bind.address.version]}"
            )
            yield Advice(("listen", at, "bind"), "two-ways-in", message)


def _without_proxies(settings: Settings) -> Iterator[Advice]:
    """Yield the listeners that need a trusted proxy, or TLS."""
    for at, listener in enumerate(settings.listen):
        message = _needs_proxy(listener)
        if message is not None:
            yield Advice(("listen", at, "bind"), "proxy-not-trusted", message)
        elif listener.tls is None:
            message = (
                "payments and tokens cross the internet in clear text; add tls: {certificate:"
                " FILE, key: FILE}, or name the proxy that ends TLS in trusted_proxies"
            )
            yield Advice(("listen", at, "bind"), "plain-http", message)


def _other_family(settings: Settings, known: _Known) -> Iterator[Advice]:
    """Yield endpoints whose senders have one address family only, and all listeners the other."""
    public = [
        (at, listener.bind.address.version)
        for at, listener in enumerate(settings.listen)
        if special(listener.bind.address) not in _BEHIND_A_PROXY
    ]
    if len({version for _, version in public}) != 1:
        return
    first, version = public[0]
    other = 10 - version
    names = [
        name
        for name, (endpoint, who) in known.items()
        if endpoint.allowlist.mode is Mode.ENFORCE
        and who.networks
        # The family of a host name's addresses is known to DNS only.
        and not who.hosts
        and all(each.network.version == other for each in who.networks)
    ]
    if names:
        message = (
            f"only IPv{version} connections come to this address, and {', '.join(names)} may be"
            f" sent to from IPv{other} addresses alone; listen on {_ANYWHERE[other]} too"
        )
        yield Advice(("listen", first, "bind"), "other-family", message)


def _needs_proxy(listener: Listener) -> str | None:
    kind = special(listener.bind.address)
    if kind not in _BEHIND_A_PROXY:
        return None
    return (
        f"a {kind} address is reached through a proxy, whose own address then stands for every"
        " client; name it in trusted_proxies"
    )


def _reaching(listener: Listener, trusted: tuple[IPNetwork, ...]) -> list[IPNetwork]:
    """Return the trusted proxies that can connect to this listener."""
    address = listener.bind.address
    here = _LOOPBACK[address.version]
    near = [network for network in trusted if network.version == address.version]
    if address.is_loopback:
        return [each for each in near if each in here or here in each]
    if address.is_unspecified:
        return near
    return [each for each in near if each not in here]


def _unreached(listener: Listener, trusted: tuple[IPNetwork, ...]) -> str | None:
    """Return a message if this listener is for trusted proxies only and none can connect to it."""
    address = listener.bind.address
    # Others may be for senders that connect directly.
    proxies_only = listener.proxy_protocol or address.is_loopback
    if not proxies_only or _reaching(listener, trusted):
        return None
    who = f"only IPv{address.version} connections come to this address"
    if address.is_loopback:
        who = "only this machine reaches a loopback address"
    what = "every connection is closed" if listener.proxy_protocol else "no header is believed"
    return f"{who}, and trusted_proxies names nobody there: {what}"


def _header(settings: Settings) -> Iterator[Advice]:
    """Yield a configured forwarding header that is never read."""
    if "forwarded_header" not in settings.model_fields_set:
        return
    location = ("forwarded_header",)
    if not settings.trusted_proxies:
        message = "is never read: trusted_proxies names nobody whose word would be taken"
        yield Advice(location, "header-unread", message)
    elif all(each.proxy_protocol for each in settings.listen) and all(
        network in _LOOPBACK[network.version] for network in settings.trusted_proxies
    ):
        message = (
            "is never read: PROXY headers name the client, and no second proxy is trusted; leave"
            " it out"
        )
        yield Advice(location, "header-unread", message)
