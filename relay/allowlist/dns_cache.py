"""What DNS said, kept on disk, so that a restart while DNS is down shuts nobody out.

One JSON file holds every host. It stores wall-clock times, because nothing else means anything
after a restart; in memory, ages count on the monotonic clock.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from relay.allowlist.dns_source import MAX_OF_HOST, HostState, KnownAddress
from relay.allowlist.networks import special
from relay.core.clock import Clock
from relay.core.request import Address

# The addresses are what a restart needs. When they were last confirmed may lag this much behind.
_REFRESH_INTERVAL: Final = 600.0
_RETRY_INTERVAL: Final = 60.0
_MAX_AGE: Final = 10 * 365 * 86400.0


def _plain_address(text: str) -> str:
    if "%" in text:
        raise ValueError("an address has no zone id")
    return str(ip_address(text))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _SavedAddress(_Strict):
    address: Annotated[str, AfterValidator(_plain_address)]
    seen_at: AwareDatetime
    missing_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _SavedHost(_Strict):
    answered_at: AwareDatetime
    addresses: tuple[_SavedAddress, ...]


class _Saved(_Strict):
    version: Literal[1] = 1
    hosts: dict[str, _SavedHost]


class DnsCache:
    """The records of all hosts, and the file they outlive us in.

    `load` once at the start; `run` writes what `keep` was given, until cancelled.
    """

    def __init__(
        self,
        path: Path,
        max_stale: timedelta,
        clock: Clock,
        unsaved: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Keep what is known in this file. `unsaved` is told why each time a write fails."""
        self._unsaved = unsaved
        self._path = path
        self._max_stale = max_stale.total_seconds()
        self._clock = clock
        self._records: dict[str, HostState] = {}
        self._written: dict[str, HostState] = {}
        self._worth_writing = asyncio.Event()
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the last write failed; None when it did not."""
        return self._problem

    def load(self) -> str | None:
        """Read the file. Return why it was ignored, or None when it was not; raises nothing.

        That there is no file is the ordinary first start. Hosts that are older than `max_stale` and
        addresses that no sender can have are left out.
        """
        try:
            saved = _Saved.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return f"{self._path}: {f'{where}: ' if where else ''}{first['msg']}"
        for name, host in saved.hosts.items():
            record = self._revive(host)
            if record is not None:
                self._records[name] = self._written[name] = record
        return None

    def reconfigure(self, max_stale: timedelta) -> None:
        """Write down what is at most so old, from the next write on."""
        self._max_stale = max_stale.total_seconds()

    def recall(self, host: str) -> HostState:
        """Return what is known of this host; an empty record when that is nothing."""
        return self._records.get(host, HostState())

    def keep(self, host: str, record: HostState) -> None:
        """Take what is now known of a host, and have it written if that is worth it. Instant."""
        self._records[host] = record
        if _differs(self._written.get(host, HostState()), record):
            self._worth_writing.set()

    async def run(self) -> None:
        """Write whenever something has changed; after a failed write, again in a minute."""
        while True:
            await self._worth_writing.wait()
            await self.save()
            if self._problem is not None:
                await self._clock.sleep(_RETRY_INTERVAL)

    async def save(self) -> None:
        """Write now, off the event loop, if there is something worth it.

        Raises nothing: `problem` says what went wrong, and the change is still to be written.
        """
        if not self._worth_writing.is_set():
            return
        self._worth_writing.clear()
        records = dict(self._records)
        text = self._shape(records).model_dump_json(indent=1)
        try:
            await asyncio.to_thread(_replace, self._path, text.encode())
        except asyncio.CancelledError:
            self._worth_writing.set()
            raise
        except OSError as error:
            self._problem = f"{self._path}: {error.strerror}"
            self._unsaved(self._problem)
            self._worth_writing.set()
        else:
            self._problem = None
            self._written = records

    def _revive(self, host: _SavedHost) -> HostState | None:
        now, wall = self._clock.monotonic(), self._clock.now()

        def age(then: AwareDatetime) -> float:
            # What seems to come from the future was saved before the clock was set back. Taken as
            # of this moment, it dies neither now nor never.
            # What claims to be older than anything is as old as matters.
            return min(max(0.0, (wall - then).total_seconds()), _MAX_AGE)

        if age(host.answered_at) > self._max_stale:
            return None
        known: dict[Address, KnownAddress] = {}
        newest = sorted(host.addresses, key=lambda each: age(each.seen_at))
        for each in newest[:MAX_OF_HOST]:
            address = ip_address(each.address)
            if special(address) is None:
                known[address] = KnownAddress(now - age(each.seen_at), each.missing_seconds)
        return HostState(known, now - age(host.answered_at)) if known else None

    def _shape(self, records: Mapping[str, HostState]) -> _Saved:
        now, wall = self._clock.monotonic(), self._clock.now()

        def moment(then: float) -> AwareDatetime:
            return wall - timedelta(seconds=now - then)

        # A host that is no longer configured is not kept up to date, and so drops out in time.
        return _Saved(
            hosts={
                name: _SavedHost(
                    answered_at=moment(record.answered),
                    addresses=tuple(
                        _SavedAddress(
                            address=str(address),
                            seen_at=moment(known.seen),
                            missing_seconds=known.missing,
                        )
                        for address, known in sorted(
                            record.known.items(), key=lambda item: str(item[0])
                        )
                    ),
                )
                for name, record in sorted(records.items())
                if record.answered is not None and now - record.answered <= self._max_stale
            }
        )


def _differs(written: HostState, record: HostState) -> bool:
    if written.known.keys() != record.known.keys():
        return True
    if written.answered is None or record.answered is None:
        return written.answered is not record.answered
    return record.answered - written.answered >= _REFRESH_INTERVAL


def _replace(path: Path, content: bytes) -> None:
    """Put this content in place of the file: whoever reads, now or after a crash, reads all of it.

    Raises:
        OSError: it could not be done for certain; the file is whole, old or new.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
