"""Captures are read as they are, and what they lost is said."""

import pytest

from relay.explain.capture import Malformed, line_at_fault, parse

HEAD = b"POST /hook?a=b HTTP/1.1\r\nHost: pay.example\r\nX-Odd: caf\xe9\r\n"
CHUNKS = b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def test_a_request_is_kept_byte_for_byte() -> None:
    body = b"\x00\xff{}\r\n\r\n"
    raw = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    found = parse(raw)
    assert (found.raw, found.rest, found.notes) == (raw, body, ())
    assert parse(CHUNKED + CHUNKS).raw == CHUNKED + CHUNKS


def test_line_ends_of_an_editor_are_mended_in_the_head_alone() -> None:
    found = parse(b"POST / HTTP/1.1\nHost: h\nContent-Length: 4\n\na\nb\n\n")
    assert found.rest == b"a\nb\n"
    assert found.notes == (
        "lines of its head end with LF alone; read as CRLF",
        "1 bytes of line ends behind its body are left out",
    )
    assert found.raw == b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\na\nb\n"


def test_line_ends_of_both_kinds_are_nobodys_to_mend() -> None:
    raw = b"POST / HTTP/1.1\r\nHost: h\nContent-Length: 1\r\n\r\nx"
    assert (parse(raw).raw, parse(raw).notes) == (raw, ())


@pytest.mark.parametrize(
    ("data", "note", "raw"),
    [
        (
            HEAD + b"\r\n{}",
            "it has no Content-Length",
            HEAD + b"Content-Length: 2\r\n\r\n{}",
        ),
        (HEAD + b"\r\n\r\n", "2 bytes of line ends behind", HEAD + b"\r\n"),
        (HEAD, "no blank line ends the head", HEAD + b"\r\n"),
        (HEAD + b"Content-Length: 9\r\n\r\n{}", "9 bytes, and 2 are there", None),
        (
            HEAD + b"Content-Length: 2\r\n\r\n{}GET /",
            "5 bytes behind its body",
            HEAD + b"Content-Length: 2\r\n\r\n{}",
        ),
        (HEAD + b"Content-Length: 0\r\n\r\nx", "1 bytes", HEAD + b"Content-Length: 0\r\n\r\n"),
        (CHUNKED + CHUNKS[:-5], "its last chunk is missing: the body is cut off", None),
        (CHUNKED + CHUNKS + b"\n\n", "2 bytes of line ends", CHUNKED + CHUNKS),
    ],
)
def test_what_is_lost_is_said(data: bytes, note: str, raw: bytes | None) -> None:
    found = parse(data)
    (said,) = found.notes
    assert note in said
    assert found.raw == (data if raw is None else raw)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"", "empty"),
        (b"\r\n\r\n", "empty"),
        (b'{"a": 1}', "METHOD /path HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "METHOD /path HTTP/1.1"),
        (b"> POST / HTTP/1.1\r\n\r\n", "curl"),
        (b"* Trying 127.0.0.1...\n> POST / HTTP/1.1\r\n\r\n", "curl"),
    ],
)
def test_what_is_no_request_is_refused_with_its_line(data: bytes, hint: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(data)
    assert caught.value.line == 1
    assert hint in str(caught.value)


def test_lines_are_counted_from_the_first_of_the_file() -> None:
    with pytest.raises(Malformed, match="nothing follows the PROXY header") as caught:
        parse(b"PROXY UNKNOWN\r\n\r\n")
    assert caught.value.line == 2


def test_a_proxy_header_is_no_part_of_the_request() -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    found = parse(b"PROXY UNKNOWN\r\n" + request)
    assert (found.raw, found.rest, found.notes) == (request, b"x", ())
    assert found.opening is not None
    assert found.opening.raw == b"PROXY UNKNOWN\r\n"
    broken = parse(b"PROXY TCP9\r\n" + request)
    assert broken.opening is not None
    assert broken.opening.header is None


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"POST  / HTTP/1.1\r\n\r\n", 1),
        (b"POST / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 3),
        # Only all of it is wrong: a field is missing.
        (b"POST / HTTP/1.1\r\nX: y\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\nno colon\r\n", None),
    ],
)
def test_the_line_that_is_wrong_is_found(raw: bytes, line: int | None) -> None:
    assert line_at_fault(raw) == line
