"""Periodic jobs of a running relay: renew certificates, prune the spool, index references."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from relay.config import certificate_files
from relay.core.clock import Clock
from relay.core.concurrency import run_in_daemon_thread
from relay.core.errors import SpoolUnavailable
from relay.core.files import Fingerprint, fingerprint, refuse_irregular
from relay.edge.tls import ServerTls
from relay.spool import Spool
from relay.spool.history import FILLING, ReferenceIndex
from relay.telemetry import Telemetry
from relay.telemetry.log import Log

# ---- certificates ---------------------------------------------------------------------------
# The files are polled every few seconds. A pair is loaded when it is whole; while half of it has
# been written, or it is no pair at all, the one before stays in use and the log says so.

#: Seconds between two polls.
POLL_INTERVAL = 5.0


class CertificateReloader:
    """Reloads the certificates of listeners when their files change."""

    def __init__(self, served: Mapping[str, ServerTls], clock: Clock, log: Log) -> None:
        """Take the certificates by listener, just loaded.

        Raises:
            OSError, ValueError: a certificate cannot be read.
        """
        self._served = {name: _Served(tls) for name, tls in served.items()}
        self._ends = {name: pair.not_after for name, pair in self._served.items()}
        self._clock = clock
        self._log = log
        self._lock = asyncio.Lock()

    @property
    def ends(self) -> Mapping[str, datetime]:
        """End of validity by listener: a live view, updated on each renewal."""
        return self._ends

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._clock.sleep(POLL_INTERVAL)
            await self.poll()

    async def poll(self) -> None:
        """Reload every pair whose files have changed. Raises nothing."""
        async with self._lock:
            for name, pair in self._served.items():
                await self._poll_pair(name, pair)

    async def _poll_pair(self, name: str, pair: "_Served") -> None:
        try:
            renewed = await run_in_daemon_thread(pair.renew)
        except (OSError, ValueError) as error:
            problem = _explain(error, pair.tls)
            if problem != pair.problem:
                self._log.error("certificate_kept", listener=name, detail=problem)
            pair.problem = problem
            return
        pair.problem = None
        if renewed:
            self._ends[name] = pair.not_after
            until = pair.not_after.isoformat()
            self._log.info("certificate_renewed", listener=name, not_after=until)


class _Served:
    """One listener's pair, its end of validity, and what was last wrong with its files."""

    def __init__(self, tls: ServerTls) -> None:
        self.tls = tls
        self._loaded = self._fingerprint()
        self.not_after = certificate_files.read_certificate(tls.certificate).not_after
        self.problem: str | None = None

    def renew(self) -> bool:
        """Load the pair in the files if it has changed; return whether it was loaded.

        A pair that is refused is tried again each time: the other half may be there by then.

        Raises:
            OSError, ValueError: what is in the files is no pair; the one before stays in use.
        """
        # Fingerprinted before either is read: the end that is told is that of what is served, or
        # else the next poll finds them changed.
        found = self._fingerprint()
        if found == self._loaded and not self.tls.is_stale():
            return False
        for path in (self.tls.certificate, self.tls.key):
            refuse_irregular(path)
        try:
            not_after = certificate_files.read_certificate(self.tls.certificate).not_after
            self.tls.renew()
        except (ssl.SSLError, ValueError) as error:
            pair = certificate_files.Pair(self.tls.certificate, self.tls.key)
            said = [issue.message for issue in certificate_files.certificate_issues(pair, ())]
            raise ValueError("; ".join(said) or "cannot be used") from error
        self.not_after, self._loaded = not_after, found
        return True

    def _fingerprint(self) -> Fingerprint:
        return fingerprint((self.tls.certificate, self.tls.key))


def _explain(error: Exception, tls: ServerTls) -> str:
    what = str(error)
    if isinstance(error, OSError):
        what = f"{_name(error.filename)}{error.strerror or 'it cannot be read'}"
    return f"{what}; the certificate before stays in use ({tls.certificate}, {tls.key})"


def _name(filename: str | Path | None) -> str:
    return "" if filename is None else f"cannot read {filename}: "


# ---- retention: prune in small steps --------------------------------------------------------

#: Rows a step: few enough that a delivery never waits for one.
_STEP_ROWS = 200
#: Seconds between steps while there is more to remove, and between rounds when there is not.
STEP_PAUSE = 0.2
INTERVAL = 600.0
#: How long before the body of a dead or held event goes somebody is told.
WARNING_TIME = timedelta(days=1)

#: How old a token in a body may become, apart from the pauses between rounds.
TOKEN_LIFE = timedelta(hours=24) - timedelta(seconds=2 * INTERVAL)


class RetentionJob:
    """Prunes a spool: bodies and refusals after `retain`, whole records after `retain_keys`.

    Dead and held events keep their bodies until `retain_keys`, and their records for good. What
    goes of them, and what will within `WARNING_TIME`, is counted. Tokens in bodies are
    masked within a day.
    """

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
        """Prune until cancelled. While the spool is unavailable, wait for the next interval."""
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
        removed = await self._spool.refusals.prune(bodies, _STEP_ROWS)
        removed += await self._spool.strangers.prune(bodies, _STEP_ROWS)
        removed += await self._spool.expire_tokens(now - TOKEN_LIFE, _STEP_ROWS)
        undelivered = await self._spool.prune_undelivered(keys, _STEP_ROWS)
        if undelivered:
            self._telemetry.undelivered_removed(undelivered)
        if removed + await self._spool.prune(bodies, keys, _STEP_ROWS) or undelivered:
            return True
        # Once in each round, when nothing is left to remove.
        expiring = await self._spool.count_undelivered(keys, keys + WARNING_TIME)
        self._telemetry.undelivered_expiring(expiring)
        return False


# ---- references: fill the index of what events are found by, behind the answers ----------------

#: Seconds between two looks whether enough has come, and after which less is enough.
LOOK_INTERVAL = 10.0
FILL_INTERVAL = 3600.0


class ReferenceJob:
    """Fills the index of references when a part of it is due, at the latest each hour; prunes it.

    The more often, the smaller its parts and the slower a search; until then a search looks at
    each event that is not in it.
    """

    def __init__(self, index: ReferenceIndex, *, clock: Clock, telemetry: Telemetry) -> None:
        self._index = index
        self._clock = clock
        self._telemetry = telemetry
        self._filled_at = self._pruned_at = clock.monotonic()

    async def run(self) -> None:
        """Fill and prune until cancelled. While the spool is unavailable, wait, and say so once."""
        told = False
        while True:
            try:
                more, told = await self.step(), False
            except SpoolUnavailable as error:
                if not told:
                    self._telemetry.log.warning("references_delayed", detail=str(error))
                more, told = False, True
            await self._clock.sleep(STEP_PAUSE if more else LOOK_INTERVAL)

    async def step(self) -> bool:
        """Fill a part that is due, or else prune one; return whether it has done so."""
        now = self._clock.monotonic()
        if await self._index.fill(FILLING if now - self._filled_at < FILL_INTERVAL else 1):
            self._filled_at = now
            return True
        if now - self._pruned_at < FILL_INTERVAL:
            return False
        if await self._index.prune():
            return True
        self._pruned_at = now
        return False
