"""`GET /api/v1/stream`: what happens, as server-sent events, while it happens.

Each event has a kind and JSON on one line, and never a body, header field or secret. A comment
every few seconds shows both ends that the other is there.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from relay.config import Settings
from relay.core.clock import Clock
from relay.core.concurrency import first_completed
from relay.core.event import Status
from relay.telemetry.feed import Feed, Happening, Subscriber, TooManySubscribers

#: Seconds between two comments.
HEARTBEAT: Final = 15.0
#: Seconds that events gather before they are written together.
_GATHER: Final = 0.05
#: Seconds that a subscriber which has ended has for reading what is written.
_FAREWELL: Final = 1.0
#: Milliseconds after which a browser comes again.
_RETRY: Final = 1000

_STILL_HERE: Final = b": still here\n\n"
_DROPPED: Final = b'event: dropped\ndata: {"reason":"more has happened than was read"}\n\n'

_FILTERS: Final = ("endpoint", "status", "upstream")

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # nginx would keep events back to fill a buffer.
    "X-Accel-Buffering": "no",
}

#: Returns the upstreams that the events of an endpoint may go to.
UpstreamsOf = Callable[[str], Collection[str]]


# ---- what is wanted -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filters; None does not narrow. Acts and reloads, which are of no endpoint, have no filter.

    status: of an event at an upstream, which attempts alone tell. upstream: deliveries that go
    there by their route or may by their endpoint, attempts there, and acts on it.
    """

    endpoint: str | None
    status: Status | None
    upstream: str | None
    upstreams_of: UpstreamsOf

    def takes(self, kind: str, fields: Mapping[str, object]) -> bool:
        """Return whether a happening of this kind with these fields is wanted."""
        if kind not in {"delivery", "attempt"}:
            touched = fields.get("touched")
            return (self.endpoint is None and self.status is None) and (
                self.upstream is None
                or (isinstance(touched, Mapping) and touched.get("upstream") == self.upstream)
            )
        return (
            (self.endpoint is None or fields["endpoint"] == self.endpoint)
            and (self.status is None or fields["status"] == self.status)
            and (self.upstream is None or self._goes_there(kind, fields))
        )

    def _goes_there(self, kind: str, fields: Mapping[str, object]) -> bool:
        if kind == "attempt":
            return fields["upstream"] == self.upstream
        routed = fields["upstreams"]
        if isinstance(routed, tuple):
            return self.upstream in routed
        return self.upstream in self.upstreams_of(str(fields["endpoint"]))


def parse_wanted(given: Mapping[str, str], upstreams_of: UpstreamsOf) -> Wanted:
    """Return the filters.

    Raises:
        ValueError: a filter is unknown or unreadable; the message says what to write.
    """
    for name in given:
        if name not in _FILTERS:
            raise ValueError(f'no filter "{name}"; there are: {", ".join(_FILTERS)}')
    status = given.get("status")
    if status is not None and status not in set(Status):
        raise ValueError(f'no status "{status}"; there are: {", ".join(Status)}')
    return Wanted(
        given.get("endpoint"),
        None if status is None else Status(status),
        given.get("upstream"),
        upstreams_of,
    )


class UpstreamMap:
    """Which upstreams an endpoint's events may go to, by the settings in force."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._known: Settings | None = None
        self._upstreams: dict[str, tuple[str, ...]] = {}

    def of(self, endpoint: str) -> tuple[str, ...]:
        """Return the upstreams of this endpoint; none where it is not configured."""
        settings = self._settings()
        if settings is not self._known:
            self._known = settings
            self._upstreams = {each.name: each.every_upstream for each in settings.endpoints}
        return self._upstreams.get(endpoint, ())


# ---- the answer -----------------------------------------------------------------------------


class Stream:
    """Answers requests for the stream until they end, or `close` ends them."""

    def __init__(
        self,
        feed: Feed,
        clock: Clock,
        upstreams_of: UpstreamsOf,
        admits: Callable[[web.Request], bool],
    ) -> None:
        """admits: whether a request may still read; a session ends meanwhile."""
        self._feed = feed
        self._clock = clock
        self._upstreams_of = upstreams_of
        self._admits = admits
        self._open: dict[Subscriber, web.Request] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; returns when it has ended."""
        wanted = parse_wanted(request.query, self._upstreams_of)
        self._forget_the_gone()
        try:
            subscriber = self._feed.subscribe(wanted.takes)
        except TooManySubscribers as error:
            raise web.HTTPServiceUnavailable(reason=str(error)) from None
        self._open[subscriber] = request
        response = web.StreamResponse(headers=_HEADERS)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._abort_when_stuck(request, subscriber))
                await response.prepare(request)
                await response.write(b"retry: %d\n\n" % _RETRY)
                await self._write(request, response, subscriber)
                watching.cancel()
        except* ConnectionError:
            pass  # It has gone.
        finally:
            self._feed.unsubscribe(subscriber)
            del self._open[subscriber]
        return response

    def close(self) -> None:
        """End every answer, now and from now on."""
        self._feed.close()

    async def _write(
        self, request: web.Request, response: web.StreamResponse, subscriber: Subscriber
    ) -> None:
        while not subscriber.ended.is_set() and self._admits(request):
            await first_completed(subscriber.wait(), self._clock.sleep(HEARTBEAT))
            if not self._admits(request):
                break
            text = b"".join(map(event_text, subscriber.fetch())) or _STILL_HERE
            # It waits for one that does not read; what happens meanwhile gathers.
            await response.write(text)
            await first_completed(self._clock.sleep(_GATHER), subscriber.ended.wait())
        if subscriber.dropped:
            await response.write(_DROPPED)
        await response.write_eof()

    async def _abort_when_stuck(self, request: web.Request, subscriber: Subscriber) -> None:
        """Close the connection of a subscriber that has ended, and does not read what waits for it.

        To cancel the write would not do: aiohttp fails every later one then.
        """
        await subscriber.ended.wait()
        await self._clock.sleep(_FAREWELL)
        if request.transport is not None:
            request.transport.abort()

    def _forget_the_gone(self) -> None:
        """Leave those whose connection has ended, which they notice when they write next."""
        for subscriber, request in self._open.items():
            if request.transport is None or request.transport.is_closing():
                self._feed.unsubscribe(subscriber)
                subscriber.end()


def event_text(happening: Happening) -> bytes:
    """Return a happening as a server-sent event."""
    return f"event: {happening.kind}\ndata: {happening.json}\n\n".encode()
