"""A stranger that holds the connections of 16 addresses; run as a process of its own."""

import asyncio
import os
import resource
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tests.harness.wire import request

#: What a stranger pays for: so many small requests a second; and as many connections as it takes to
#: have all of them open, if each lives for so many seconds.
REQUESTS_PER_SECOND: Final = 55
ADDRESSES: Final = [f"127.0.9.{number}" for number in range(1, 17)]
_SMALL: Final = request("GET", "/healthz")
_LIFE: Final = 8
_TICK: Final = 0.02


@dataclass
class Siege:
    """Connections of 16 addresses over which something small is asked now and then.

    One that is closed is opened again.
    """

    port: int
    number: int
    asked: int = 0
    _held: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=deque)

    async def lay(self) -> None:
        """Open all, so many at a time."""
        for first in range(0, self.number, 64):
            await asyncio.gather(*map(self._open, range(first, min(first + 64, self.number))))

    async def _open(self, number: int) -> None:
        address = ADDRESSES[number % len(ADDRESSES)]
        try:
            self._held.append(
                await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
            )
        except OSError:
            return

    async def hold(self) -> None:
        """Ask and open again, until cancelled."""
        loop = asyncio.get_running_loop()
        began, again = loop.time(), 0
        while True:
            await asyncio.sleep(_TICK)
            due = (loop.time() - began) * REQUESTS_PER_SECOND
            while self.asked < due:
                self.asked += 1
                self._held[0][1].write(_SMALL)
                self._held.rotate(-1)
            # One that gave way was reset: that is no end of its stream.
            ended = [each for each in self._held if each[0].at_eof() or each[1].is_closing()]
            for each in ended:
                self._held.remove(each)
                each[1].close()
            may_open = int(due + (loop.time() - began) * self.number / _LIFE) - again
            missing = min(self.number - len(self._held), may_open)
            await asyncio.gather(*map(self._open, range(again, again + missing)))
            again += max(missing, 0)


async def _main(port: int, number: int) -> None:
    siege = Siege(port, number)
    await siege.lay()
    sys.stdout.write("laid\n")
    sys.stdout.flush()
    await siege.hold()


if __name__ == "__main__":
    wanted, (_, most) = int(sys.argv[2]) + 100, resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    # A stranger has a machine of its own.
    os.nice(10)
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
