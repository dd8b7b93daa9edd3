"""The server makes connections, and forgets them when they end."""

import asyncio
from pathlib import Path

from tests.harness.clock import run_loop_until
from tests.harness.edge import genuine_request, running_edge
from tests.harness.wire import read_reply


async def test_aiohttp_has_the_names_that_the_fast_lane_goes_by(tmp_path: Path) -> None:
    """An idle connection of aiohttp waits for a message, and holds none."""
    async with running_edge(tmp_path) as edge:
        reader, writer = await asyncio.open_connection(*edge.address)
        writer.write(genuine_request())
        assert (await read_reply(reader)).status == 200
        server = edge.edge._server
        assert server is not None
        [connection] = server.connections
        waiter = connection._waiter
        assert waiter is not None
        assert not waiter.done()
        busy = (connection._messages, connection._paused)
        assert [*map(bool, busy)] == [False, False]
        assert (connection._close, connection._force_close) == (False, False)
        writer.close()
        await run_loop_until(lambda: not server.connections)


async def test_its_own_timer_for_idle_connections_never_falls_due(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        _, writer = await asyncio.open_connection(*edge.address)
        await run_loop_until(lambda: len(edge.connections) == 1)
        server = edge.edge._server
        assert server is not None
        [connection] = server.connections
        assert connection.keepalive_timeout > 365 * 86_400
        writer.close()
        await run_loop_until(lambda: len(edge.connections) == 0)
