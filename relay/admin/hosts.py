"""Which names the private listener answers to.

A page anywhere can point a name of its own at a private address (DNS rebinding) and have the
browser of somebody who works here ask it, as if the page came from there. Such a name is one of
the public DNS; who comes by address, as `localhost` or by a name without a dot does not.
"""

import re
from ipaddress import ip_address

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_PORT = re.compile(r"(?::[0-9]{1,5})?\Z")


def answers_to(host: str) -> bool:
    """Return whether a Host field, with or without a port, is an address or a local name."""
    port = _PORT.search(host)
    name = host[: port.start()] if port else host
    if name.startswith("[") and name.endswith("]"):
        return _is_address(name[1:-1], 6)
    return _NAME.fullmatch(name) is not None or _is_address(name, 4)


def _is_address(text: str, version: int) -> bool:
    try:
        return "%" not in text and ip_address(text).version == version
    except ValueError:
        return False
