"""The last known addresses of all hosts on disk, so that a restart during a DNS outage keeps them.

One JSON file holds every host. It stores wall-clock times, because nothing else means anything
after a restart; in memory, ages count on the monotonic clock.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from relay.allowlist import Change
from relay.allowlist.dns_source import (
    MAX_CHANGES,
    HostChange,
    HostState,
    KnownAddress,
    most_trusted,
)
from relay.allowlist.networks import special
from relay.core.clock import Clock
from relay.core.files import replace
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
    added_at: AwareDatetime | None = None
    proven: bool = False
    first_seen_at: AwareDatetime | None = None


class _SavedChange(_Strict):
    at: AwareDatetime
    change: Change
    address: Annotated[str, AfterValidator(_plain_address)]


class _SavedHost(_Strict):
    answered_at: AwareDatetime
    addresses: tuple[_SavedAddress, ...]
    history: tuple[_SavedChange, ...] = ()


class _Saved(_Strict):
    version: Literal[1] = 1
    hosts: dict[str, _SavedHost]


class DnsCache:
    """The states of all hosts in memory, written behind to a file.

    `load` reads it once at the start; `run` writes what `put` was given, until cancelled.
    """

    def __init__(
        self,
        path: Path,
        max_stale: timedelta,
        clock: Clock,
        on_write_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Use this file. `on_write_error` is called with the reason each time a write fails."""
        self._on_write_error = on_write_error
        self._path = path
        self._max_stale = max_stale.total_seconds()
        self._clock = clock
        self._states: dict[str, HostState] = {}
        self._written: dict[str, HostState] = {}
        self._dirty = asyncio.Event()
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the last write failed; None when it succeeded."""
        return self._problem

    def load(self) -> str | None:
        """Read the file. Return why it was ignored, or None when it was not; raises nothing.

        Without a file, as at the first start, nothing is loaded. Hosts older than `max_stale` and
        addresses that are not global unicast are dropped.
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
            state = self._restore(host)
            if state is not None:
                self._states[name] = self._written[name] = state
        return None

    def reconfigure(self, max_stale: timedelta) -> None:
        """Replace the age up to which hosts are written, from the next write on."""
        self._max_stale = max_stale.total_seconds()

    def get(self, host: str) -> HostState:
        """Return the state of this host; an empty one when it is unknown."""
        return self._states.get(host, HostState())

    def put(self, host: str, state: HostState) -> None:
        """Replace the state of a host; schedule a write when it differs enough. Instant."""
        self._states[host] = state
        if _needs_write(self._written.get(host, HostState()), state):
            self._dirty.set()

    async def run(self) -> None:
        """Write after each change, until cancelled; retry a failed write after a minute."""
        while True:
            await self._dirty.wait()
            await self.save()
            if self._problem is not None:
                await self._clock.sleep(_RETRY_INTERVAL)

    async def save(self) -> None:
        """Write now, in a thread, if a write is scheduled.

        Raises nothing: after a failure `problem` has the reason, and the write stays scheduled.
        """
        if not self._dirty.is_set():
            return
        self._dirty.clear()
        states = dict(self._states)
        text = self._to_saved(states).model_dump_json(indent=1)
        try:
            await asyncio.to_thread(replace, self._path, text.encode())
        except asyncio.CancelledError:
            self._dirty.set()
            raise
        except OSError as error:
            self._problem = f"{self._path}: {error.strerror}"
            self._on_write_error(self._problem)
            self._dirty.set()
        else:
            self._problem = None
            self._written = states

    def _restore(self, host: _SavedHost) -> HostState | None:
        now, wall = self._clock.monotonic(), self._clock.now()

        def age(then: AwareDatetime) -> float:
            # What seems to come from the future was saved before the clock was set back. Taken as
            # of this moment, it dies neither now nor never.
            # What claims to be older than anything is as old as matters.
            return min(max(0.0, (wall - then).total_seconds()), _MAX_AGE)

        if age(host.answered_at) > self._max_stale:
            return None
        known: dict[Address, KnownAddress] = {}
        for each in host.addresses:
            address = ip_address(each.address)
            if special(address) is None:
                added_at = None if each.added_at is None else now - age(each.added_at)
                seen_at = now - age(each.seen_at)
                first_seen = None if each.first_seen_at is None else now - age(each.first_seen_at)
                known[address] = KnownAddress(
                    seen_at, each.missing_seconds, added_at, each.proven, first_seen
                )
        history = tuple(
            HostChange(now - age(each.at), each.change, ip_address(each.address))
            for each in host.history[:MAX_CHANGES]
        )
        answered_at = now - age(host.answered_at)
        return HostState(most_trusted(known), answered_at, history=history) if known else None

    def _to_saved(self, states: Mapping[str, HostState]) -> _Saved:
        now, wall = self._clock.monotonic(), self._clock.now()

        def moment(then: float) -> AwareDatetime:
            return wall - timedelta(seconds=now - then)

        # A host that is no longer configured is not kept up to date, and so drops out in time.
        return _Saved(
            hosts={
                name: _saved_host(state, state.answered_at, moment)
                for name, state in sorted(states.items())
                if state.answered_at is not None and now - state.answered_at <= self._max_stale
            }
        )


def _saved_host(
    state: HostState, answered_at: float, moment: Callable[[float], AwareDatetime]
) -> _SavedHost:
    def optional(then: float | None) -> AwareDatetime | None:
        return None if then is None else moment(then)

    return _SavedHost(
        answered_at=moment(answered_at),
        addresses=tuple(
            _SavedAddress(
                address=str(address),
                seen_at=moment(known.last_seen),
                missing_seconds=known.missing_seconds,
                added_at=optional(known.added_at),
                proven=known.proven,
                first_seen_at=optional(known.first_seen),
            )
            for address, known in sorted(state.known.items(), key=lambda item: str(item[0]))
        ),
        history=tuple(
            _SavedChange(at=moment(each.at), change=each.change, address=str(each.address))
            for each in state.history
        ),
    )


def _needs_write(written: HostState, state: HostState) -> bool:
    if written.known.keys() != state.known.keys() or any(
        known.proven != written.known[address].proven for address, known in state.known.items()
    ):
        return True
    if written.answered_at is None or state.answered_at is None:
        return written.answered_at is not state.answered_at
    return state.answered_at - written.answered_at >= _REFRESH_INTERVAL
