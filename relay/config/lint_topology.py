"""Warnings about listeners, proxies and the networks they trust.

A listener has IPv4 connections or IPv6 connections, never both: `[::]` is IPv6 alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netaddr import IPNetwork, IPSet

from relay.allowlist import Mode
from relay.allowlist.networks import (
    covers_all,
    families_mostly_covered,
    redundant_positions,
    special,
)
from relay.config.endpoints import ExpectedSources, senders
from relay.config.listener_settings import Listener
from relay.config.settings import Endpoint, Settings
from relay.config.yaml_document import Location
from relay.providers import ProviderInfo

# ---- one warning ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Advice:
    """One warning about one place."""

    location: Location
    code: str
    message: str


# ---- networks that are not one party's ------------------------------------------------------

#: Nobody's own network is wider than this, by the version of IP.
WIDEST = {4: 12, 6: 28}

#: Networks that deliver for many customers, as these publish them; their own lists are longer.
#: https://www.cloudflare.com/ips/, https://api.fastly.com/public-ip-list and the CLOUDFRONT entries
#: of https://ip-ranges.amazonaws.com/ip-ranges.json.
_CDNS: Mapping[str, IPSet] = {
    "Cloudflare": IPSet(
        [
            *("173.245.48.0/20", "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22"),
            *("141.101.64.0/18", "108.162.192.0/18", "190.93.240.0/20", "188.114.96.0/20"),
            *("197.234.240.0/22", "198.41.128.0/17", "162.158.0.0/15", "104.16.0.0/13"),
            *("104.24.0.0/14", "172.64.0.0/13", "131.0.72.0/22", "2400:cb00::/32"),
            *("2606:4700::/32", "2803:f800::/32", "2405:b500::/32", "2405:8100::/32"),
            *("2a06:98c0::/29", "2c0f:f248::/32"),
        ]
    ),
    "Fastly": IPSet(
        [
            *("23.235.32.0/20", "43.249.72.0/22", "103.244.50.0/24", "103.245.222.0/23"),
            *("103.245.224.0/24", "104.156.80.0/20", "140.248.64.0/18", "140.248.128.0/17"),
            *("146.75.0.0/17", "151.101.0.0/16", "157.52.64.0/18", "167.82.0.0/17"),
            *("167.82.128.0/20", "167.82.160.0/20", "167.82.224.0/20", "172.111.64.0/18"),
            *("185.31.16.0/22", "199.27.72.0/21", "199.232.0.0/16", "2a04:4e40::/32"),
            "2a04:4e42::/32",
        ]
    ),
    "Amazon CloudFront": IPSet(
        [
            *("13.32.0.0/15", "13.35.0.0/16", "13.224.0.0/14", "13.249.0.0/16", "18.64.0.0/14"),
            *("18.154.0.0/15", "18.160.0.0/15", "18.164.0.0/15", "18.172.0.0/15", "18.238.0.0/15"),
            *("18.244.0.0/15", "52.84.0.0/15", "52.222.128.0/17", "54.182.0.0/16"),
            *("54.192.0.0/16", "54.230.0.0/16", "54.239.128.0/18", "64.252.64.0/18"),
            *("70.132.0.0/18", "99.84.0.0/16", "99.86.0.0/16", "108.138.0.0/15"),
            *("108.156.0.0/14", "143.204.0.0/16", "204.246.164.0/22", "205.251.192.0/19"),
            "2600:9000::/28",
        ]
    ),
}


def is_wide(network: IPNetwork) -> bool:
    """Return whether a network is wider than one party has, and is neither all nor this machine."""
    if covers_all(network) or network in _LOOPBACK[network.version]:
        return False
    return bool(network.prefixlen < WIDEST[network.version])


def _cdn_of(network: IPNetwork) -> str | None:
    """Return whose network it is, if it lies in, or holds, one of a content delivery network."""
    if covers_all(network):
        return None
    own = IPSet((network,))
    for owner, theirs in _CDNS.items():
        if not own.isdisjoint(theirs):
            return f"is {owner}'s" if own.issubset(theirs) else f"holds addresses of {owner}"
    return None


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
    narrower = (each for each in settings.trusted_proxies if not covers_all(each))
    together = tuple(families_mostly_covered(narrower))
    for at, network in enumerate(settings.trusted_proxies):
        if covers_all(network):
            message = f"{network} believes anybody's {header}; name your own proxies"
            yield Advice((*location, at), "everyone", message)
        elif is_wide(network) and not together:
            message = (
                f"{network} is wider than a /{WIDEST[network.version]}: every machine in it may"
                f" write the {header}; name your own proxies"
            )
            yield Advice((*location, at), "wide-network", message)
        if (owner := _cdn_of(network)) is not None:
            message = (
                f"{network} {owner}, and other customers of theirs come from there too; let"
                " the front prove itself by a certificate or a secret header as well, or by a"
                " network of your own"
            )
            yield Advice((*location, at), "cdn-trusted", message)
    for kind in together:
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
