"""Names of header fields that are not free: they belong to a connection, to proxies or to relay.

Many servers read `Relay_Signed` as `Relay-Signed` (CGI, WSGI), so the two are one name here.
"""

from enum import Enum
from typing import Final


class Owner(Enum):
    """Whose a field of a request to an upstream is, where its name is not free."""

    CONNECTION = "the connection"
    PROXY = "proxies"
    RELAY = "relay"


# Connection-level fields are about one connection (RFC 9110, 7.6.1), and framing belongs to the
# request that is sent on it; its body is sent as it came, and answers are read as they are.
_CONNECTION: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "content-encoding",
        "accept-encoding",
        "expect",
    }
)
# What an upstream believes of a proxy.
_PROXY: Final = frozenset({"forwarded", "via", "x-real-ip"})
_PROXY_PREFIXES: Final = ("proxy-", "x-forwarded-")
_RELAY_PREFIXES: Final = ("relay-", "webhook-")

#: Every name that is not free, and the beginnings of such names; in the form of `plain`.
OWNED: Final = _CONNECTION | _PROXY
OWNED_PREFIXES: Final = (*_PROXY_PREFIXES, *_RELAY_PREFIXES)


def plain(name: str) -> str:
    """Return a name as it is compared: in lower case, with hyphens for underscores."""
    return name.lower().replace("_", "-")


def owner_of(name: str) -> Owner | None:
    """Return whose a field of this name is; None for one that is free."""
    name = plain(name)
    if name in _CONNECTION:
        return Owner.CONNECTION
    if name in _PROXY or name.startswith(_PROXY_PREFIXES):
        return Owner.PROXY
    return Owner.RELAY if name.startswith(_RELAY_PREFIXES) else None
