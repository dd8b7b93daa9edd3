"""Ports for programs that have to be told theirs."""

import socket
from collections.abc import Container
from contextlib import suppress
from random import sample

# Below those that Linux gives to outgoing connections.
_OWN_PORTS = range(20000, 32000)


def free_port(taken: Container[int] = ()) -> int:
    """Return a port that is free on every address, and that no outgoing connection will take.

    taken: ports that were chosen already.
    """
    for port in sample(_OWN_PORTS, len(_OWN_PORTS)):
        if port in taken:
            continue
        with (
            suppress(OSError),
            socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True),
        ):
            return port
    raise RuntimeError("no port is free")
