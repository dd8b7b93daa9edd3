"""Allowlists in the formats of nftables, nginx and HAProxy, which can refuse earlier. No I/O."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from netaddr import IPNetwork

from relay.allowlist import Mode


class Dialect(StrEnum):
    """The format of an exported allowlist."""

    NFTABLES = "nftables"
    NGINX = "nginx"
    HAPROXY = "haproxy"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Allowed:
    """One endpoint and its allowed networks, merged so that none overlap."""

    endpoint: str
    mode: str
    networks: tuple[IPNetwork, ...]

    @property
    def open(self) -> bool:
        """Whether the relay admits every address, so that the list would refuse some of them."""
        return self.mode == Mode.OFF

    def of(self, version: int) -> list[str]:
        return [str(network) for network in self.networks if network.version == version]


def nftables(lists: Sequence[Allowed]) -> str:
    """Return a file for `nft -f`: two sets an endpoint, replaced in one transaction.

    Raises:
        ValueError: an endpoint admits every address; so with `nginx` and `haproxy`.
    """
    sets = [
        (f"{name}_v{version}", kind, allowed.of(version))
        for name, allowed in zip(_names(lists), lists, strict=True)
        for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr"))
    ]
    lines = ["table inet relay {"]
    for name, kind, _ in sets:
        lines.append(f"    set {name} {{ type {kind}; flags interval; }}")
    lines.append("}")
    for name, _, networks in sets:
        lines.append(f"flush set inet relay {name}")
        if networks:
            lines.append(f"add element inet relay {name} {{ {', '.join(networks)} }}")
    return _text(lists, lines)


def nginx(lists: Sequence[Allowed]) -> str:
    """Return variables for nginx's `http` block: 1 for an address that may send."""
    lines = []
    for name, allowed in zip(_names(lists), lists, strict=True):
        lines.append(f"geo $relay_{name} {{")
        # To nginx, a default and a network of everything are the same thing.
        if not any(network.prefixlen == 0 for network in allowed.networks):
            lines.append("    default 0;")
        lines += [f"    {network} 1;" for network in allowed.networks]
        lines.append("}")
    return _text(lists, lines)


def haproxy(lists: Sequence[Allowed]) -> str:
    """Return a pattern file for `acl NAME src -f FILE`. It holds one endpoint.

    Raises:
        ValueError: there are several endpoints; a pattern file holds one.
    """
    if len(lists) != 1:
        names = ", ".join(each.endpoint for each in lists)
        raise ValueError(f"a file for haproxy holds one endpoint; add --endpoint, one of {names}")
    return _text(lists, [str(network) for network in lists[0].networks])


def as_json(lists: Iterable[Allowed]) -> list[dict[str, object]]:
    """Return the lists as JSON, which `allowlist diff --against` reads."""
    return [
        {
            "endpoint": each.endpoint,
            "mode": each.mode,
            "networks": [str(network) for network in each.networks],
        }
        for each in lists
    ]


def _text(lists: Sequence[Allowed], lines: Sequence[str]) -> str:
    everybody = ", ".join(each.endpoint for each in lists if each.open)
    if everybody:
        raise ValueError(
            f'{everybody}: everybody may send (allowlist.mode: "off"), and this list would keep'
            " some out; write mode: enforce, or name another endpoint with --endpoint"
        )
    told = [f"# {each.endpoint}: {len(each.networks)} networks, mode {each.mode}" for each in lists]
    return "\n".join(["# Written by `relay allowlist export`.", *told, *lines, ""])


def _names(lists: Sequence[Allowed]) -> list[str]:
    """Return a name for each endpoint that is valid in every format; all are different."""
    names: list[str] = []
    for each in lists:
        name = re.sub(r"[^a-z0-9]", "_", each.endpoint.lower())
        name = name if name[0].isalpha() else f"endpoint_{name}"
        while name in names:
            name += "_"
        names.append(name)
    return names
