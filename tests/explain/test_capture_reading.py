"""A captured request is read as the edge reads it."""

import pytest

from relay.core.errors import Reason, Refusal
from relay.edge.framing import MAX_FIELDS
from relay.explain.capture import read

HEAD = b"POST /hook?a=b HTTP/1.1\r\nHost: pay.example\r\nX-Odd: caf\xe9\r\n"


async def test_a_request_is_read_byte_for_byte() -> None:
    body = b"\x00\xff{}\r\n\r\n"
    raw = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    found = await read(raw, most=100)
    assert (found.method, found.target, found.body) == ("POST", "/hook?a=b", body)
    assert list(found.headers)[:2] == [("Host", "pay.example"), ("X-Odd", "caf\xe9")]
    assert found.problem is None


async def test_chunks_are_joined() -> None:
    chunks = b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    found = await read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, most=100)
    assert found.body == b"abc"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (b"Content-Length: 3\r\n\r\nab", Reason.BODY_MALFORMED),
        (b"Content-Length: 101\r\n\r\n" + b"x" * 101, Reason.BODY_TOO_LARGE),
        (b"Content-Encoding:\r\nContent-Length: 1\r\n\r\nx", Reason.BODY_ENCODED),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", Reason.BODY_MALFORMED),
        (b"Transfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\n\r\n", Reason.BODY_MALFORMED),
    ],
)
async def test_a_body_that_is_refused_has_a_head_still(rest: bytes, reason: Reason) -> None:
    found = await read(HEAD + rest, most=100)
    assert (found.target, found.body) == ("/hook?a=b", None)
    assert found.problem is not None
    assert found.problem.reason is reason


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", Reason.BODY_MALFORMED),
        (b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", Reason.BODY_MALFORMED),
        (HEAD + b" folded: x\r\n\r\n", Reason.BODY_MALFORMED),
        (HEAD + b"X: x\r\n" * MAX_FIELDS + b"\r\n", Reason.HEADERS_TOO_LARGE),
    ],
)
async def test_a_head_that_cannot_be_read_is_refused(raw: bytes, reason: Reason) -> None:
    with pytest.raises(Refusal) as caught:
        await read(raw, most=100)
    assert caught.value.reason is reason


async def test_much_is_not_waited_for() -> None:
    found = await read(HEAD + b"Content-Length: 9000000\r\n\r\n" + bytes(9_000_000), most=100)
    assert found.problem is not None
    assert found.problem.reason is Reason.BODY_TOO_LARGE
