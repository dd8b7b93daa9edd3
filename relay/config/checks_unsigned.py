"""Checks of endpoints that take messages without a proof: their addresses have to be one."""

from collections.abc import Iterator, Sequence

from netaddr import IPNetwork

from relay.allowlist import Mode
from relay.allowlist.networks import families_mostly_covered
from relay.config.inline_provider import InlineProvider
from relay.config.settings import Endpoint
from relay.config.yaml_document import ConfigIssue, Location


def unsigned_issues(endpoint: Endpoint, location: Location) -> Iterator[ConfigIssue]:
    """Yield what an endpoint lacks to take messages: secrets, or addresses that are a proof."""
    secrets, unsigned = (*location, "secrets"), (*location, "unsigned")
    if _signs_nothing(endpoint):
        scheme = (*location, "provider", "signature", "scheme")
        if endpoint.secrets:
            message = "are compared with nothing under scheme: none; leave the key out"
            yield ConfigIssue(secrets, message, (scheme,))
        else:
            yield from _address_alone(endpoint, location, "scheme: none", (scheme,))
        return
    if endpoint.secrets:
        if endpoint.unsigned == "accept":
            message = "has no meaning beside secrets; leave it out"
            yield ConfigIssue(unsigned, message, (secrets,))
        return
    if endpoint.unsigned == "refuse":
        message = (
            'at least one is needed to verify signatures, such as ["${env:NAME}"];'
            " unsigned: accept does without, if allowlist.mode is enforce"
        )
        yield ConfigIssue(secrets, message, (unsigned,))
        return
    yield from _address_alone(endpoint, location, "unsigned: accept", (secrets, unsigned))


def _signs_nothing(endpoint: Endpoint) -> bool:
    described = endpoint.provider
    return isinstance(described, InlineProvider) and described.signature.scheme == "none"


def _address_alone(
    endpoint: Endpoint, location: Location, because: str, needs: tuple[Location, ...]
) -> Iterator[ConfigIssue]:
    """Yield what keeps addresses from being a proof of their own. `because`: what needs one."""
    allowlist = (*location, "allowlist")
    if endpoint.allowlist.mode is not Mode.ENFORCE:
        message = f"must be enforce: with {because} the address is all that is checked"
        yield ConfigIssue((*allowlist, "mode"), message, needs)
    narrower = []
    for where, networks in _member_networks(endpoint):
        for at, network in networks:
            if network.prefixlen:
                narrower.append(network)
            else:
                message = f"lets anybody forge: with {because} the address is all there is"
                yield ConfigIssue((*location, *where, at), message, needs)
    if any(families_mostly_covered(narrower)):
        message = f"lets half the internet forge: with {because} the address is all there is"
        yield ConfigIssue(allowlist, message, needs)


def _member_networks(
    endpoint: Endpoint,
) -> Iterator[tuple[Location, list[tuple[int, IPNetwork]]]]:
    """Yield each list of senders in the file: its key, and its networks with their positions."""
    lists: list[tuple[Location, Sequence[object]]] = [
        (("allowlist", "add"), endpoint.allowlist.add),
        (("allowlist", "replace"), endpoint.allowlist.replace or ()),
    ]
    if isinstance(endpoint.provider, InlineProvider) and endpoint.allowlist.replace is None:
        lists += [
            (("provider", "networks", name, "cidrs"), each.cidrs)
            for name, each in endpoint.provider.networks.items()
        ]
    for where, members in lists:
        yield where, [(at, each) for at, each in enumerate(members) if isinstance(each, IPNetwork)]
