"""The way to a host: its addresses are tried in turn, each with a head start over the next.

`asyncio` does the same, but loses a socket that is connected in the moment in which the attempt is
cut short, and attempts are cut short here whenever their time is over.
"""

import asyncio
import socket
from collections.abc import Iterable
from itertools import chain, zip_longest

from relay.upstream._http.name import Found, Name

#: How long the next address waits for the one before it, in seconds (RFC 8305, 5).
HEAD_START = 0.25


async def dial(name: Name, head_start: float = HEAD_START) -> socket.socket:
    """Return a connected socket that does not block. Cut short or failed, it leaves none open.

    Raises:
        OSError: the first error of all the addresses; `socket.gaierror` when there is none.
        ValueError: DNS has no way to ask for this name.
    """
    addresses = alternating(await name.look_up())
    if len(addresses) == 1:
        return await _connected(addresses[0])
    return await _race(addresses, head_start)


def alternating(found: Iterable[Found]) -> list[Found]:
    """Return the addresses with their families in turn, beginning with the preferred one."""
    families: dict[int, list[Found]] = {}
    for each in found:
        families.setdefault(each[0], []).append(each)
    in_turn = chain.from_iterable(zip_longest(*families.values()))
    return [each for each in in_turn if each is not None]


async def _race(addresses: list[Found], head_start: float) -> socket.socket:
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[socket.socket]] = []
    failed: list[BaseException] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        running: set[asyncio.Task[socket.socket]] = set()
        while len(tasks) < len(addresses) or running:
            if len(tasks) < len(addresses):
                tasks.append(loop.create_task(_connected(addresses[len(tasks)])))
                running.add(tasks[-1])
            more = len(tasks) < len(addresses)
            done, running = await asyncio.wait(
                running,
                timeout=head_start if more else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is None:
                    winner = task
                    return task.result()
                failed.append(error)
        raise failed[0]
    finally:
        for task in tasks:
            if task is not winner:
                task.cancel()
                task.add_done_callback(_discard)


async def _connected(address: Found) -> socket.socket:
    family, kind, protocol, _, place = address
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, place)
    except BaseException:
        opened.close()
        raise
    return opened


def _discard(task: asyncio.Task[socket.socket]) -> None:
    """Close the socket of one that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
