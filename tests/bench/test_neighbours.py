"""Delays are compared round by round, and an upstream notes each event once."""

import asyncio

import pytest

from tests.bench.neighbours import Receiver, Seen, percentile

MARK = 3


def test_a_percentile_is_that_of_the_values() -> None:
    values = [float(each) for each in range(101)]
    assert [percentile(values, each) for each in (1, 50, 99)] == pytest.approx([1, 50, 99])


def test_the_99th_percentiles_are_compared_round_by_round() -> None:
    alone = Seen("alone", [[1.0] * 10, [2.0] * 10, [4.0] * 10])
    beside = Seen("beside", [[2.0] * 10, [2.0] * 10, [3.0] * 10])
    assert str(beside.against(alone)) == "1.00 [0.75 to 2.00]"


async def _ask(port: int, number: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b"xxx%012d" % number
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    try:
        async with asyncio.timeout(0.2):
            return await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        return b""
    finally:
        writer.close()


async def test_an_upstream_notes_when_an_event_came_first() -> None:
    receiver = Receiver(MARK)
    async with receiver.serving() as port:
        assert (await _ask(port, 7)).startswith(b"HTTP/1.1 200")
        first = dict(receiver.came)
        await _ask(port, 7)
        assert receiver.came == first
        assert [*first] == [7]


async def test_one_that_hangs_notes_it_and_says_nothing() -> None:
    receiver = Receiver(MARK, after=None)
    async with receiver.serving() as port:
        assert await _ask(port, 8) == b""
        assert [*receiver.came] == [8]
