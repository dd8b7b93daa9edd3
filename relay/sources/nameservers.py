"""Name servers as people write them: `192.0.2.53`, `192.0.2.53:5353`, `tls://192.0.2.53#name`."""

from dataclasses import dataclass

from netaddr import AddrFormatError, IPAddress

from relay.networks import parse_host_name

_TLS = "tls://"
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True)
class Nameserver:
    """Where to ask.

    tls: ask over TLS (RFC 7858); the certificate must then be valid for `name`, or for the address
        itself when there is no name.
    """

    address: str
    port: int
    tls: bool = False
    name: str | None = None


def parse_nameserver(text: str) -> Nameserver:
    """Return the name server that is written here. It is an address: a name would need DNS first.

    Raises:
        ValueError: it is not one; the message says what to write instead.
    """
    tls = text.startswith(_TLS)
    place, hash_mark, name = text.removeprefix(_TLS).partition("#")
    if hash_mark and not tls:
        raise ValueError(f"{text!r} has a name to check but no TLS; write {_TLS}{place}#{name}")
    certified = parse_host_name(name) if hash_mark else None
    address, port = _split(place)
    try:
        IPAddress(address)
    except (AddrFormatError, ValueError):
        raise ValueError(
            f"{text!r} is not a name server; write its address, as in 192.0.2.53, "
            f"192.0.2.53:5353, [2001:db8::53]:5353 or {_TLS}192.0.2.53#dns.example.com"
        ) from None
    if port is None:
        return Nameserver(address, 853 if tls else 53, tls, certified)
    if not (port.isascii() and port.isdigit() and int(port) in _PORTS):
        raise ValueError(f"{text!r} has no port number after the colon; write 1 to 65535")
    return Nameserver(address, int(port), tls, certified)


def _split(place: str) -> tuple[str, str | None]:
    """Return address and port; an IPv6 address needs brackets where a port follows."""
    if place.startswith("["):
        address, closed, rest = place[1:].partition("]")
        if closed and not rest:
            return address, None
        return (address, rest[1:]) if rest.startswith(":") else (place, None)
    if place.count(":") == 1:
        address, _, port = place.partition(":")
        return address, port
    return place, None
