"""Tells a supervisor, systemd's `Type=notify`, how the process fares: ready, reloading, stopping.

Each message is one datagram to the Unix socket that NOTIFY_SOCKET names, see sd_notify(3). Without
that variable nothing is sent.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from relay.core.clock import Clock

# Seconds that a message may wait for room in the socket; the event loop waits with it.
_TIMEOUT: Final = 0.1


class Supervisor:
    """The supervisor of this process. A message that cannot be sent is dropped."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        """Take what it has put into the environment."""
        name = environ.get("NOTIFY_SOCKET", "")
        # An @ stands for the zero byte with which an abstract name begins.
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._clock = clock
        self._watchdog = _watchdog(environ)

    def ready(self) -> None:
        """Every listener accepts."""
        self._send("READY=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Within this context the configuration is being read again."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")
        try:
            yield
        finally:
            self._send("READY=1")

    def stopping(self) -> None:
        """What is in hand is being finished."""
        self._send("STOPPING=1")

    async def keep_alive(self) -> None:
        """Tell twice in each interval of the watchdog that the event loop runs, until cancelled."""
        while self._watchdog is not None:
            self._send("WATCHDOG=1")
            await self._clock.sleep(self._watchdog / 2)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.settimeout(_TIMEOUT)
            channel.sendto("\n".join(lines).encode(), self._address)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Return the interval of the watchdog in seconds; None where there is none for this process."""
    interval, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not interval.isdecimal() or not int(interval) or pid not in {"", str(os.getpid())}:
        return None
    return int(interval) / 1e6
