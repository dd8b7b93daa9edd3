"""What the lint rules share: a warning before it knows its file, and judging networks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from netaddr import IPNetwork, IPSet

from relay.config.places import Place
from relay.networks import redundant

# Where a sender can be; in IPv6, IANA assigns global unicast addresses from 2000::/3 alone.
_SENDERS = (("IPv4", IPNetwork("0.0.0.0/0")), ("IPv6", IPNetwork("2000::/3")))


@dataclass(frozen=True, slots=True)
class Advice:
    """One warning about one place."""

    place: Place
    code: str
    message: str


def everyone(network: IPNetwork) -> bool:
    """Tell whether a network is 0.0.0.0/0 or ::/0."""
    return not network.prefixlen


def mostly_everyone(networks: Iterable[IPNetwork]) -> Iterator[str]:
    """Yield each kind, IPv4 or IPv6, of which the networks together hold half or more."""
    held = IPSet(networks)
    for kind, senders in _SENDERS:
        if 2 * (held & IPSet((senders,))).size >= senders.size:
            yield kind


def repeated(
    networks: Sequence[IPNetwork | str], listed: Sequence[IPNetwork]
) -> Iterator[tuple[int, IPNetwork]]:
    """Yield the position of each network that adds nothing, and the network that holds it.

    listed: networks that are there anyway. Of equal networks the first is not repeated.
    """
    own = [network for network in networks if isinstance(network, IPNetwork)]
    outer = dict(redundant((*listed, *own)))
    seen = set(listed)
    for at, network in enumerate(networks):
        if not isinstance(network, IPNetwork):
            continue
        if network in outer and (outer[network] != network or network in seen):
            yield at, outer[network]
        seen.add(network)
