"""What a host is called, and the addresses behind that.

Whoever runs the name server of one upstream must not be able to hold up anything else. So the
system is asked in a thread that serves this name alone, once for all who want to know meanwhile.
"""

import asyncio
import socket

from relay.apart import apart

Found = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


class Name:
    """A host, by name or by address, and a port."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._asking: asyncio.Task[list[Found]] | None = None

    async def look_up(self) -> list[Found]:
        """Return the addresses, at least one, as `socket.getaddrinfo` does.

        Raises:
            OSError: a `socket.gaierror`: there are none, or nobody knows.
            ValueError: DNS has no way to ask for this name.
        """
        if found := self._numeric():
            return found
        if self._asking is None:
            self._asking = asyncio.ensure_future(apart(self._ask, "relay-names"))
            self._asking.add_done_callback(self._asked)
        # Who gives up gives up alone: others may be waiting for the same.
        return await asyncio.shield(self._asking)

    def _asked(self, task: asyncio.Task[list[Found]]) -> None:
        self._asking = None
        if not task.cancelled():
            # Nobody may be waiting for it any more.
            task.exception()

    def _numeric(self) -> list[Found]:
        """Return what needs no name server, and so no thread to wait for one."""
        try:
            return self._ask(socket.AI_NUMERICHOST)
        except socket.gaierror:
            return []

    def _ask(self, flags: int = 0) -> list[Found]:
        kind = socket.SOCK_STREAM
        return list(socket.getaddrinfo(self._host, self._port, type=kind, flags=flags))
