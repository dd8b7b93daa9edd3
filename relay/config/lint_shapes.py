"""Lint rules for the way from a sender to a listener: what cannot be right, whoever stands between.

A listener has IPv4 connections or IPv6 connections, never both: `[::]` is IPv6 alone.
"""

from collections.abc import Iterator, Mapping

from netaddr import IPNetwork

from relay.config.advice import Advice, everyone, mostly_everyone, repeated
from relay.config.endpoint import Endpoint
from relay.config.settings import Listener, Settings
from relay.networks import parse_network, special
from relay.providers import Facts

_BEHIND_A_PROXY = ("private", "loopback", "link-local", "carrier-grade NAT")
_LOOPBACK = {4: IPNetwork("127.0.0.0/8"), 6: IPNetwork("::1/128")}


def advice(settings: Settings, facts: Mapping[str, Facts]) -> Iterator[Advice]:
    """Yield what is to be said of listeners and trusted proxies.

    facts: of each endpoint's provider, by the endpoint's name.
    """
    yield from _proxies(settings)
    yield from _senders(settings, facts)
    for at, listener in enumerate(settings.listen):
        if settings.trusted_proxies:
            message = _unreached(listener, settings.trusted_proxies)
        else:
            message = _nobody_trusted(listener)
        if message is not None:
            yield Advice(("listen", at, "bind"), "proxy-not-trusted", message)
    yield from _header(settings)


def _proxies(settings: Settings) -> Iterator[Advice]:
    place = ("trusted_proxies",)
    told = any(listener.proxy_protocol for listener in settings.listen)
    header = "PROXY header" if told else "forwarding header"
    for at, network in enumerate(settings.trusted_proxies):
        if everyone(network):
            message = f"{network} believes anybody's {header}; name your own proxies"
            yield Advice((*place, at), "everyone", message)
    for kind in mostly_everyone(n for n in settings.trusted_proxies if not everyone(n)):
        message = (
            f"together these believe the {header} of half of all {kind} addresses or more; name"
            " your own proxies"
        )
        yield Advice(place, "everyone", message)
    for at, outer in repeated(settings.trusted_proxies, ()):
        message = f"is already within {outer}; remove it"
        yield Advice((*place, at), "redundant-network", message)


def _senders(settings: Settings, facts: Mapping[str, Facts]) -> Iterator[Advice]:
    """Yield the trusted proxies that may send as well: from there, no sender is heard."""
    allowed = {
        endpoint.name: _allowed(endpoint, facts[endpoint.name])
        for endpoint in settings.endpoints
        if endpoint.name in facts
    }
    for at, proxy in enumerate(settings.trusted_proxies):
        names = [
            name
            for name, networks in allowed.items()
            if any(proxy in each or each in proxy for each in networks if not everyone(each))
        ]
        if names and not everyone(proxy):
            message = (
                f"{proxy} is taken for a proxy's, and {', '.join(names)} may be sent to from there;"
                " what comes from there by itself is refused, so name your own proxies only"
            )
            yield Advice(("trusted_proxies", at), "sender-trusted", message)


def _allowed(endpoint: Endpoint, facts: Facts) -> list[IPNetwork]:
    allowlist, listings = endpoint.allowlist, facts.environments[endpoint.environment].listings
    if allowlist.replace is not None:
        listings = ()
    members = (*(allowlist.replace or ()), *allowlist.add)
    return [
        *(parse_network(text) for listing in listings for text in listing.networks),
        *(member for member in members if isinstance(member, IPNetwork)),
    ]


def _nobody_trusted(listener: Listener) -> str | None:
    kind = special(listener.bind.address)
    if kind not in _BEHIND_A_PROXY:
        return None
    return (
        f"a {kind} address is reached through a proxy, whose own address then stands for every"
        " client; name it in trusted_proxies"
    )


def _unreached(listener: Listener, trusted: tuple[IPNetwork, ...]) -> str | None:
    """Say so when no trusted proxy can connect to this listener."""
    version = listener.bind.address.version
    near = [network for network in trusted if network.version == version]
    who = f"only IPv{version} connections come to this address"
    if listener.bind.address.is_loopback:
        near = [each for each in near if each in _LOOPBACK[version] or _LOOPBACK[version] in each]
        who = "only this machine reaches a loopback address"
    elif not listener.proxy_protocol:
        # It may be there for senders that come by themselves.
        return None
    if near:
        return None
    what = "every connection is closed" if listener.proxy_protocol else "no header is believed"
    return f"{who}, and trusted_proxies names nobody there: {what}"


def _header(settings: Settings) -> Iterator[Advice]:
    """Yield a forwarding header that was chosen and is never read."""
    if "forwarded_header" not in settings.model_fields_set:
        return
    place = ("forwarded_header",)
    if not settings.trusted_proxies:
        message = "is never read: trusted_proxies names nobody whose word would be taken"
        yield Advice(place, "header-unread", message)
    elif all(each.proxy_protocol for each in settings.listen) and all(
        network in _LOOPBACK[network.version] for network in settings.trusted_proxies
    ):
        message = (
            "is never read: PROXY headers name the client, and no second proxy is trusted; leave"
            " it out"
        )
        yield Advice(place, "header-unread", message)
