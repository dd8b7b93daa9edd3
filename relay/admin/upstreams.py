"""Upstreams as an operator sees them, and pausing them: what API, page and command line share."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from relay.admin.upstream_rows import read_configured, upstream_rows
from relay.config import Endpoint
from relay.config.upstream_settings import Upstream
from relay.config.yaml_document import suggestion
from relay.core.clock import Clock
from relay.core.errors import RelayError
from relay.spool import Spool
from relay.spool.audit import Actor

#: Why an upstream stays paused that has been resumed.
PAUSED_BY_FILE = "the configuration file pauses it (`paused: true`); change that, and reload"


class UnknownUpstream(RelayError):
    """No upstream of this name is configured, nor has any event waiting or a pause."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        super().__init__(f'no upstream named "{name}"; {suggestion(name, known)}')


async def read_rows(
    spool: Spool,
    upstreams: Mapping[str, Upstream],
    endpoints: Iterable[Endpoint],
    breakers: Mapping[str, bool],
    at: datetime,
) -> list[dict[str, object]]:
    """Return the rows of `upstream_rows` for this spool; `at` is the present time.

    Raises:
        SpoolUnavailable: it cannot be read.
    """
    backlog = (await spool.overview.read(at, at)).backlog
    configured = await read_configured(upstreams, endpoints)
    return upstream_rows(configured, backlog, await spool.pauses.all(), breakers)


@dataclass(frozen=True, slots=True)
class PauseResult:
    """What became of pausing or resuming an upstream.

    changed: whether it was otherwise before. by_file: the configuration pauses it, which no act
        ends.
    """

    upstream: str
    paused: bool
    changed: bool
    by_file: bool

    def json(self) -> dict[str, object]:
        """Return it as the admin API shows it."""
        return {"upstream": self.upstream, "paused": self.paused, "changed": self.changed}


async def pause(
    spool: Spool, configured: Mapping[str, Upstream], name: str, actor: Actor, at: datetime
) -> PauseResult:
    """Pause an upstream, until it is resumed.

    Raises:
        UnknownUpstream: there is none of this name.
    """
    await _check(spool, configured, name)
    changed = await spool.pauses.pause(name, actor, at)
    return PauseResult(name, paused=True, changed=changed, by_file=_is_by_file(configured, name))


async def resume(spool: Spool, configured: Mapping[str, Upstream], name: str) -> PauseResult:
    """End the pause of an upstream; one that the configuration pauses stays paused.

    Raises:
        UnknownUpstream: there is none of this name.
    """
    await _check(spool, configured, name)
    changed = await spool.pauses.resume(name)
    by_file = _is_by_file(configured, name)
    return PauseResult(name, paused=by_file, changed=changed, by_file=by_file)


async def _check(spool: Spool, configured: Mapping[str, Upstream], name: str) -> None:
    if name in configured or name in await spool.pauses.all():
        return
    if name not in (waiting := (await spool.stats()).oldest_pending):
        raise UnknownUpstream(name, {*configured, *waiting})


def _is_by_file(configured: Mapping[str, Upstream], name: str) -> bool:
    return name in configured and configured[name].paused


class Upstreams:
    """The upstreams of a running relay.

    configured: their settings, by name; endpoints: those of endpoints. Both change with a reload.
    breakers: whether each is open, by upstream, where this process delivers.
    changed: is called when a pause has come or gone, so that it is noticed at once.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        configured: Callable[[], Mapping[str, Upstream]],
        endpoints: Callable[[], Iterable[Endpoint]],
        breakers: Callable[[], Mapping[str, bool]],
        changed: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.configured = configured
        self._endpoints = endpoints
        self._spool = spool
        self._breakers = breakers
        self._changed = changed
        self._clock = clock

    async def rows(self) -> list[dict[str, object]]:
        """Return a row for each upstream, by name."""
        now = self._clock.now()
        return await read_rows(
            self._spool, self.configured(), self._endpoints(), self._breakers(), now
        )

    async def paused(self) -> dict[str, bool]:
        """Return for each configured upstream whether it is paused, by a person or the file."""
        paused = await self._spool.pauses.all()
        return {
            name: upstream.paused or name in paused for name, upstream in self.configured().items()
        }

    async def pause(self, name: str, actor: Actor) -> PauseResult:
        """Do as the function `pause`."""
        done = await pause(self._spool, self.configured(), name, actor, self._clock.now())
        self._changed()
        return done

    async def resume(self, name: str) -> PauseResult:
        """Do as the function `resume`."""
        done = await resume(self._spool, self.configured(), name)
        self._changed()
        return done
