"""What the lint rules share: a warning before it knows its file, and judging networks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netaddr import IPNetwork

from relay.config.places import Place
from relay.networks import redundant


@dataclass(frozen=True, slots=True)
class Advice:
    """One warning about one place."""

    place: Place
    code: str
    message: str


def everyone(network: IPNetwork) -> bool:
    """Tell whether a network is 0.0.0.0/0 or ::/0."""
    return not network.prefixlen


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
