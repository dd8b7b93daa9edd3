"""An upstream that counts how many requests it has in hand: `python -m tests.bench.counting PORT`.

It takes a millisecond over each, so that requests overlap. `GET /count` says how many it has
answered, and how many it had in hand at most.
"""

import asyncio
import json
import re
import sys
from typing import Final

_WORK: Final = 0.001
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Counts:
    answered = 0
    in_hand = 0
    most = 0

    def enter(self) -> None:
        self.in_hand += 1
        self.most = max(self.most, self.in_hand)

    def leave(self) -> None:
        self.in_hand -= 1
        self.answered += 1

    def report(self) -> bytes:
        return json.dumps({"answered": self.answered, "most": self.most}).encode()


class _Connection(asyncio.Protocol):
    """One keep-alive connection. Requests have a Content-Length, or no body."""

    def __init__(self, counts: _Counts) -> None:
        self._counts = counts
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end])
            found = _LENGTH.search(head)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._received) < whole:
                return
            del self._received[:whole]
            if head.startswith(b"GET /count "):
                self._answer(self._counts.report())
                continue
            self._counts.enter()
            asyncio.get_running_loop().call_later(_WORK, self._done)

    def _done(self) -> None:
        self._counts.leave()
        self._answer(b"OK")

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def _serve(port: int) -> None:
    counts = _Counts()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: _Connection(counts), "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
