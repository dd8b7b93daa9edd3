"""Captures are read as they are, and what they lost is said."""

import pytest

from relay.explain.capture import Malformed, parse

HEAD = b"POST /hook?a=b HTTP/1.1\r\nHost: pay.example\r\nX-Odd: caf\xe9\r\n"


def test_a_request_is_read_byte_for_byte() -> None:
    body = b"\x00\xff{}\r\n\r\n"
    raw = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    found = parse(raw)
    assert (found.method, found.target, found.body) == ("POST", "/hook?a=b", body)
    assert list(found.headers)[:2] == [("Host", "pay.example"), ("X-Odd", "caf\xe9")]
    assert (found.notes, found.raw) == ((), raw)


def test_chunks_are_joined() -> None:
    raw = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert parse(raw).body == b"abc"
    assert parse(raw[:-5]).notes == ("its last chunk is missing: the body is cut off",)


def test_line_ends_of_an_editor_are_mended_in_the_head_alone() -> None:
    found = parse(b"POST / HTTP/1.1\nContent-Length: 4\n\na\nb\n\n")
    assert found.body == b"a\nb\n"
    assert found.notes == (
        "lines of its head end with LF alone; read as CRLF",
        "1 line ends behind its body are left out",
    )
    assert found.raw == b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na\nb\n"


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (HEAD + b"\r\n{}", "it has no Content-Length"),
        (HEAD, "no blank line ends the head"),
        (HEAD + b"Content-Length: 9\r\n\r\n{}", "9 bytes, and 2 are there"),
        (HEAD + b"Content-Length: 2\r\n\r\n{}GET /", "5 bytes behind its body"),
    ],
)
def test_what_is_lost_is_said(data: bytes, note: str) -> None:
    (said,) = parse(data).notes
    assert note in said


@pytest.mark.parametrize(
    ("data", "line", "hint"),
    [
        (b"", 1, "empty"),
        (b"\r\n\r\n", 1, "empty"),
        (b'{"a": 1}', 1, "METHOD /path HTTP/1.1"),
        (b"> POST / HTTP/1.1\r\n\r\n", 1, "curl"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 3, "Name: value"),
        (b"BREW / HTTP/1.1\r\n\r\n", 1, "can be parsed"),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 1, "be present with"),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 1, "can be parsed"),
    ],
)
def test_what_is_no_request_is_refused_with_its_line(data: bytes, line: int, hint: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(data)
    assert caught.value.line == line
    assert hint in str(caught.value)
