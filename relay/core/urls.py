"""Default ports of http and https, and the authority of a URL that leaves them out."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: By scheme, in lower case; the schemes there are.
DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})


def authority(host: str, port: int | None, scheme: str) -> str:
    """Return the host, with the port behind it where that is not the default of the scheme.

    host: an IPv6 address stands in brackets.
    """
    return host if port in {None, DEFAULT_PORTS[scheme]} else f"{host}:{port}"
