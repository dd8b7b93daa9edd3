"""What stands before the request in a capture from a `proxy_protocol` listener: a PROXY header.

Read by the edge's own reader. It says whose connection it is, so it stands for `--peer`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from relay.edge.origin import Origin
from relay.edge.proxyheader import ProxyHeader, ProxyHeaderInvalid, begins, missing, parse
from relay.errors import Reason, Refusal
from relay.model import Address, Via

#: Stands in for a peer that nobody knows.
NOBODY: Final = ip_address("0.0.0.0")  # noqa: S104 - nobody listens here

_UNTRUSTED = "from an address that is not in trusted_proxies"


@dataclass(frozen=True, slots=True)
class Opening:
    """A PROXY header. `header` is what it says; None where `problem` says why it is none."""

    raw: bytes = field(repr=False)
    header: ProxyHeader | None
    problem: str = ""

    @property
    def lines(self) -> int:
        """How many lines of the file it takes."""
        return self.raw.count(b"\n")


def split(data: bytes) -> tuple[Opening | None, bytes]:
    """Return the PROXY header that these bytes begin with, if they do, and what follows it.

    A line of version 1 may end with LF alone, as an editor leaves it.
    """
    if not begins(data) or _request_line(data):
        return None, data
    line, end, rest = data.partition(b"\n")
    if data.startswith(b"PROXY ") and end and not line.endswith(b"\r"):
        data = line + b"\r\n" + rest
    raw = b""
    try:
        while (more := missing(raw)) and len(raw) < len(data):
            raw = data[: len(raw) + more]
        return Opening(raw, parse(raw)), data[len(raw) :]
    except ProxyHeaderInvalid as invalid:
        return Opening(raw, None, str(invalid)), data[len(raw) :]


def origin(
    opening: Opening | None, peer: Address | None, trusts: Callable[[Address], bool]
) -> Origin:
    """Return whose connection it is; `NOBODY`'s where nothing says so.

    peer: who connected: with a PROXY header the proxy, which is trusted when it is not known.

    Raises:
        Refusal: PROXY_HEADER_INVALID; the connection is closed.
    """
    if opening is None:
        return Origin(peer or NOBODY)
    if peer is not None and not trusts(peer):
        raise Refusal(Reason.PROXY_HEADER_INVALID, _UNTRUSTED)
    if opening.header is None:
        raise Refusal(Reason.PROXY_HEADER_INVALID, opening.problem)
    if opening.header.source is None:
        return Origin(peer or NOBODY, forwards=False)
    return Origin(opening.header.source, Via.PROXY)


def told(opening: Opening) -> str:
    """Say whose connection a valid header makes it."""
    if opening.header is None or opening.header.source is None:
        return "names no client: the proxy speaks for itself"
    return f"{opening.header.source} connected to the proxy; --peer is the proxy's own address"


def _request_line(data: bytes) -> bool:
    """Tell whether the first line is a request's with the odd method PROXY."""
    words = data.partition(b"\n")[0].split()
    return bool(words) and words[-1].startswith(b"HTTP/")
