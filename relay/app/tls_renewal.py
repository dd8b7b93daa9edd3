"""Polls the files that TLS to upstreams is made from, and has what they make exchanged.

It needs no reload and no `--watch`, as the certificates of listeners do not: the settings in use
are built anew, and what is made from the same files as before is reused.
"""

from collections.abc import Awaitable, Callable, Collection

from relay.app.maintenance import POLL_INTERVAL
from relay.app.upstream_tls import TlsKey
from relay.core.clock import Clock
from relay.core.errors import ConfigError
from relay.telemetry.log import Log


class TlsRenewal:
    """Exchanges TLS to upstreams when its files change. While they are unfit, nothing changes."""

    def __init__(
        self,
        in_use: Callable[[], Collection[TlsKey]],
        rebuild: Callable[[], Awaitable[None]],
        clock: Clock,
        log: Log,
    ) -> None:
        """Take the parts.

        in_use: returns the files in use, and their state when they were read.
        rebuild: builds the settings in use anew; raises `ConfigError` where files are unfit.
        """
        self._in_use = in_use
        self._rebuild = rebuild
        self._clock = clock
        self._log = log
        self._problem: str | None = None

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._clock.sleep(POLL_INTERVAL)
            await self.poll()

    async def poll(self) -> None:
        """Exchange what is made from files that have changed. Raises nothing.

        What is unfit is tried again each time: the other half of a pair may be there by then.
        """
        changed = [
            files for files, stamps in list(self._in_use()) if await files.fingerprint() != stamps
        ]
        if not changed:
            self._problem = None
            return
        try:
            await self._rebuild()
        except ConfigError as error:
            said = f"{error}; what was in use before stays in use"
            if said != self._problem:
                self._log.error("upstream_tls_kept", detail=said)
            self._problem = said
        except Exception as fault:  # noqa: BLE001 - what runs goes on, whatever it was
            self._log.fault("reload_fault", fault)
        else:
            self._problem = None
            paths = sorted({str(path) for files in changed for path in files.paths})
            self._log.info("upstream_tls_renewed", files=paths)
