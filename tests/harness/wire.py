"""Bytes over a real socket: what is sent is exactly what is given."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `head` holds status line and header fields."""

    status: int
    head: str
    body: bytes

    def value(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


def request(
    method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """Return a request as bytes, with Host and Content-Length unless they are given."""
    fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", "localhost"))
    if "content-length" not in names and "transfer-encoding" not in names:
        fields.append(("Content-Length", str(len(body))))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


async def exchange(address: tuple[str, int], raw: bytes) -> Reply:
    """Send bytes on a new connection and return the first answer."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(raw)
        return await read_reply(reader)
    finally:
        writer.close()


async def read_reply(reader: asyncio.StreamReader, within: float = 15.0) -> Reply:
    """Read one answer with a Content-Length; a closed connection reads as status 0."""
    async with asyncio.timeout(within):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return Reply(0, "", b"")
        reply = Reply(int(head.split(" ", 2)[1]), head, b"")
        length = int(reply.value("Content-Length") or 0)
        return Reply(reply.status, head, await reader.readexactly(length))
