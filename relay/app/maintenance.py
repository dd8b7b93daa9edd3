"""Periodic work of a running relay: certificates are renewed, the spool is pruned."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from relay.config import checks
from relay.core.clock import Clock
from relay.core.concurrency import run_in_daemon_thread
from relay.core.errors import SpoolUnavailable
from relay.core.files import Fingerprint, fingerprint, refuse_irregular
from relay.edge.tls import ServerTls
from relay.spool import Spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log

# ---- certificates ---------------------------------------------------------------------------
# The files are looked at every few seconds. A pair is taken when it is whole; while half of it has
# been written, or it is no pair at all, the one before stays in use and the log says so.

#: Seconds between two looks.
POLL_INTERVAL = 5.0


class CertificateReloader:
    """Keeps the certificates of the listeners as new as their files."""

    def __init__(self, served: Mapping[str, ServerTls], clock: Clock, log: Log) -> None:
        """Take what is served, by listener, just loaded.

        Raises:
            OSError, ValueError: a certificate cannot be read.
        """
        self._kept = {name: _Served(tls) for name, tls in served.items()}
        self._ends = {name: kept.not_after for name, kept in self._kept.items()}
        self._clock = clock
        self._log = log
        self._turn = asyncio.Lock()

    @property
    def ends(self) -> Mapping[str, datetime]:
        """When the certificate in use ends, by listener; what was returned once stays right."""
        return self._ends

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._clock.sleep(POLL_INTERVAL)
            await self.poll()

    async def poll(self) -> None:
        """Take every pair whose files have changed. Raises nothing."""
        async with self._turn:
            for name, kept in self._kept.items():
                await self._look_at(name, kept)

    async def _look_at(self, name: str, kept: "_Served") -> None:
        try:
            renewed = await run_in_daemon_thread(kept.renew)
        except (OSError, ValueError) as error:
            problem = _explain(error, kept.tls)
            if problem != kept.problem:
                self._log.error("certificate_kept", listener=name, detail=problem)
            kept.problem = problem
            return
        kept.problem = None
        if renewed:
            self._ends[name] = kept.not_after
            until = kept.not_after.isoformat()
            self._log.info("certificate_renewed", listener=name, not_after=until)


class _Served:
    """One listener's pair, when it ends, and what was last wrong with its files."""

    def __init__(self, tls: ServerTls) -> None:
        self.tls = tls
        self._seen = self._look()
        self.not_after = checks.read_certificate(tls.certificate).not_after
        self.problem: str | None = None

    def renew(self) -> bool:
        """Take the pair in the files if it is another one; return whether it was taken.

        What is refused is tried again each time, as the other half may have come meanwhile.

        Raises:
            OSError, ValueError: what is in the files is no pair; the one before stays in use.
        """
        # Looked at before either is read: the end that is told is that of what is served, or else
        # the next look finds them changed.
        found = self._look()
        if found == self._seen and not self.tls.is_stale():
            return False
        for path in (self.tls.certificate, self.tls.key):
            refuse_irregular(path)
        not_after = checks.read_certificate(self.tls.certificate).not_after
        self.tls.renew()
        self.not_after, self._seen = not_after, found
        return True

    def _look(self) -> Fingerprint:
        return fingerprint((self.tls.certificate, self.tls.key))


def _explain(error: Exception, tls: ServerTls) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        what = f"{_name(error.filename)}{error.strerror or 'it cannot be read'}"
    else:
        what = "certificate and key do not fit together, or are not PEM"
    return f"{what}; the certificate before stays in use ({tls.certificate}, {tls.key})"


def _name(filename: str | Path | None) -> str:
    return "" if filename is None else f"cannot read {filename}: "


# ---- pruning, in small steps beside the real work -------------------------------------------

#: Rows a step: few enough that a delivery never waits for one.
_STEP = 200
#: Seconds between steps while there is more to remove, and between rounds when there is not.
STEP_PAUSE = 0.2
INTERVAL = 600.0


class RetentionJob:
    """Prunes a spool: bodies and refusals after `retain`, whole records after `retain_keys`."""

    def __init__(
        self,
        spool: Spool,
        *,
        retain: timedelta,
        retain_keys: timedelta,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._spool = spool
        self._retain = retain
        self._retain_keys = retain_keys
        self._clock = clock
        self._telemetry = telemetry

    async def run(self) -> None:
        """Prune until cancelled. A spool in trouble is left alone until the next round."""
        while True:
            try:
                more = await self._step()
            except SpoolUnavailable as error:
                self._telemetry.log.warning("prune_failed", detail=str(error))
                more = False
            await self._clock.sleep(STEP_PAUSE if more else INTERVAL)

    async def _step(self) -> bool:
        now = self._clock.now()
        bodies, keys = now - self._retain, now - self._retain_keys
        removed = await self._spool.refusals.prune(bodies, _STEP)
        return bool(removed + await self._spool.prune(bodies, keys, _STEP))
