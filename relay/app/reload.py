"""When the configuration is read again, and whether it is taken.

It is read beside the traffic, checked as at the start, and taken as a whole or not at all. Whoever
asks while one reload is under way gets the next one, together with all others who have asked by
then: a storm of signals costs one reload at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable

from relay.apart import apart
from relay.clock import Clock
from relay.config import Settings
from relay.config.places import Fault
from relay.errors import ConfigError, Problem
from relay.telemetry import Telemetry

#: What a running relay cannot exchange.
FIXED = ("listen", "admin", "spool", "state_dir")

_RESTART = "restart needed: it differs from what runs, and cannot be exchanged under way"
_FAULT = "the reload failed for a reason of ours; see the log"
_STOPPING = "relay is stopping"


class Reloads:
    """Reads the configuration when asked. `running` are the settings in force."""

    def __init__(
        self,
        running: Settings,
        *,
        load: Callable[[], Settings],
        change: Callable[[Settings], Awaitable[None]],
        beside: Callable[[], Awaitable[None]],
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        """Take the parts.

        load: reads and checks the file; called in a thread. Raises `ConfigError`. One that does not
            come back holds up later reloads, and nothing else: not the end of the process either.
        change: goes by the new settings from now on, or raises and changes nothing.
        beside: done each time, whatever becomes of the settings. Raises nothing.
        """
        self.running = running
        self._load = load
        self._change = change
        self._beside = beside
        self._telemetry = telemetry
        self._clock = clock
        self._asked = asyncio.Event()
        self._next: asyncio.Future[tuple[Problem, ...]] | None = None
        self._stopped = False

    def ring(self) -> None:
        """Have the configuration read again soon. Instant; may be called at any time."""
        self._asked.set()

    async def ask(self) -> tuple[Problem, ...]:
        """Have it read again; return why it was not taken, nothing when it was."""
        if self._stopped:
            return (self._problem(_STOPPING),)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        self.ring()
        return await asyncio.shield(self._next)

    async def run(self) -> None:
        """Read whenever asked, one time after the other, until cancelled."""
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                waiting, self._next = self._next, None
                problems: tuple[Problem, ...] = (self._problem(_STOPPING),)
                try:
                    problems = await self._reload()
                finally:
                    if waiting is not None:
                        waiting.set_result(problems)
        finally:
            self._stopped = True
            if self._next is not None:
                self._next.set_result((self._problem(_STOPPING),))

    async def _reload(self) -> tuple[Problem, ...]:
        before = self.running
        await self._beside()
        try:
            wanted = await apart(self._load)
            check(before, wanted)
            await self._change(wanted)
        except ConfigError as error:
            self._telemetry.reload_refused(error.problems)
            return error.problems
        except Exception as fault:  # noqa: BLE001 - what runs goes on, whatever it was
            self._telemetry.log.fault("reload_fault", fault)
            problems = (self._problem(_FAULT),)
            self._telemetry.reload_refused(problems)
            return problems
        self.running = wanted
        self._telemetry.reloaded(self._clock.now(), differences(before, wanted))
        return ()

    def _problem(self, message: str) -> Problem:
        return self.running.source.problem(Fault((), message))


def check(running: Settings, wanted: Settings) -> None:
    """Return when a running relay can go from the one to the other.

    Raises:
        ConfigError: with each key that takes a restart.
    """
    changed = [key for key in FIXED if getattr(running, key) != getattr(wanted, key)]
    if "spool" in changed and "state_dir" in changed:
        # It lies beside the spool unless it is said where.
        changed.remove("state_dir")
    if changed:
        raise ConfigError(wanted.source.problem(Fault((key,), _RESTART)) for key in changed)


def differences(before: Settings, after: Settings) -> tuple[str, ...]:
    """Return the places that differ, by name; for the log."""
    found = []
    for key in type(after).model_fields:
        one, other = _named(getattr(before, key)), _named(getattr(after, key))
        found += [
            f"{key}.{name}" if name else key
            for name in sorted(one.keys() | other.keys())
            if one.get(name) != other.get(name)
        ]
    return tuple(found)


def _named(section: object) -> dict[str, object]:
    """Return the parts of a section by their names; a section without such is one part."""
    if isinstance(section, dict):
        return section
    if isinstance(section, tuple) and all(hasattr(each, "name") for each in section):
        return {each.name: each for each in section}
    return {"": section}
