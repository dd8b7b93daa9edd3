"""A token server that is away for long: nothing is lost, burnt or hammered meanwhile."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from relay.delivery.attempt import Upstream
from relay.delivery.credentials import Credentials
from relay.delivery.dispatcher import Dispatcher
from relay.delivery.retry import RetryPolicy
from relay.delivery.sender import HttpSender
from relay.delivery.tokens import TokenSource
from relay.spool.sqlite import open_spool
from tests.delivery.test_tokens import source_of
from tests.harness.clock import ManualClock, run_loop_until
from tests.harness.deliveries import numbered
from tests.harness.oauth2_server import OAuth2Server, says
from tests.harness.spying_spool import RecordingObserver, SpyingSpool

TIMEOUT = timedelta(seconds=10)
SCHEDULE = [timedelta(seconds=each) for each in (5, 30, 120, 600)]
POLICY = RetryPolicy(tuple(SCHEDULE), timedelta(hours=72))
EVENTS = 100


class Outbound:
    """A dispatcher with one upstream that wants tokens."""

    def __init__(
        self, sender: HttpSender, tokens: TokenSource, dispatcher: Dispatcher, spool: SpyingSpool
    ) -> None:
        self._sender = sender
        self._tokens = tokens
        self._dispatcher = dispatcher
        self._spool = spool

    def rests(self) -> bool:
        """Tell whether nothing is under way but what waits for the clock."""
        [worker] = self._dispatcher._workers.values()
        token_user = self._sender._token_user
        assert token_user is not None
        asking = self._sender._pool._under_way or self._tokens._pool._under_way
        waiting = len(token_user._waiting)
        started = worker.in_flight == waiting and not worker._settling
        writing = worker._claiming or self._spool.releasing
        return not asking and started and not writing


async def test_events_wait_for_their_token_server_as_for_their_upstream(tmp_path: Path) -> None:
    clock, observer = ManualClock(datetime(2026, 1, 5, 12, tzinfo=UTC)), RecordingObserver()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(OAuth2Server(clock))
        server.instead = says(500, b"")
        tokens = await stack.enter_async_context(source_of(server.token_url, clock))
        spool = SpyingSpool(await open_spool(tmp_path / "relay.db", clock), clock)
        stack.push_async_callback(spool.close)
        url = f"{server.url}/hooks"
        sender = HttpSender(
            url, timeout=TIMEOUT, concurrency=8, clock=clock, credentials=Credentials(tokens=tokens)
        )
        stack.push_async_callback(sender.close)
        upstream = Upstream("billing", sender, TIMEOUT, 8, POLICY, url=url)
        dispatcher = Dispatcher(
            spool=spool, upstreams=(upstream,), clock=clock, dice=Random(1), observer=observer
        )
        for number in range(EVENTS):
            await spool.put(numbered(number))
        outbound = Outbound(sender, tokens, dispatcher, spool)
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            for _ in range(120):
                await clock.advance(5)
                await run_loop_until(outbound.rests)
            # Some attempts open the breaker, then it is one a minute.
            assert {each.cause for each in observer.attempts} == {"token"}
            assert 10 <= len(observer.attempts) < 60
            assert 2 < server.questions < 60
            assert (server.taken, server.refused) == ([], [])
            tried = {each.event_id for each in observer.attempts}
            assert len(tried) < 50
            server.instead = None
            # The longest pause of the breaker, and the longest wait of an event that was tried.
            back = clock.monotonic()
            while len(observer.delivered()) < EVENTS:
                await clock.advance(5)
                await run_loop_until(outbound.rests)
            assert clock.monotonic() - back < 60 + 2 * 660
            await dispatcher.stop(1.0)
    assert len(server.taken) == EVENTS
    assert {each.cause for each in observer.attempts} == {"token", None}
