"""Captures are read as they are, and what they lost is said."""

from ipaddress import ip_address

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import Via
from relay.edge.connections import PeerInfo
from relay.edge.framing import MAX_FIELDS
from relay.explain.capture import (
    UNKNOWN_PEER,
    NotARequest,
    ProxyPrefix,
    describe_peer,
    faulty_line,
    parse,
    peer_info_of,
    read_request,
    split_proxy_header,
)

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
    with pytest.raises(NotARequest) as caught:
        parse(data)
    assert caught.value.line == 1
    assert hint in str(caught.value)


def test_lines_are_counted_from_the_first_of_the_file() -> None:
    with pytest.raises(NotARequest, match="nothing follows the PROXY header") as caught:
        parse(b"PROXY UNKNOWN\r\n\r\n")
    assert caught.value.line == 2


def test_a_proxy_header_is_no_part_of_the_request() -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    found = parse(b"PROXY UNKNOWN\r\n" + request)
    assert (found.raw, found.rest, found.notes) == (request, b"x", ())
    assert found.proxy_prefix is not None
    assert found.proxy_prefix.raw == b"PROXY UNKNOWN\r\n"
    broken = parse(b"PROXY TCP9\r\n" + request)
    assert broken.proxy_prefix is not None
    assert broken.proxy_prefix.header is None


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
    assert faulty_line(raw) == line


# ---- the PROXY header -----------------------------------------------------------------------
# A PROXY header before a request is found, read as the edge reads it, and judged.

REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2 = SIGNATURE + bytes([0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 1, 19, 136, 1, 187])
LOCAL = SIGNATURE + bytes([0x20, 0, 0, 0])
CLIENT, PROXY = ip_address("192.0.2.7"), ip_address("10.0.0.1")


@pytest.mark.parametrize(("raw", "lines"), [(V1, 1), (V2, 4)])
def test_both_versions_are_taken_off(raw: bytes, lines: int) -> None:
    opening, rest = split_proxy_header(raw + REQUEST)
    assert rest == REQUEST
    assert opening is not None
    assert (opening.raw, opening.lines) == (raw, lines)
    assert peer_info_of(opening, None, lambda _: False) == PeerInfo(CLIENT, Via.PROXY)
    assert (
        describe_peer(opening)
        == "192.0.2.7 connected to the proxy; --peer is the proxy's own address"
    )


def test_the_line_end_of_an_editor_is_mended() -> None:
    opening, rest = split_proxy_header(V1.replace(b"\r", b"") + b"POST / HTTP/1.1\nHost: a\n\n")
    assert opening is not None
    assert (opening.raw, rest) == (V1, b"POST / HTTP/1.1\nHost: a\n\n")


@pytest.mark.parametrize("data", [b"", b"\r\n", REQUEST, b"PROXY / HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_what_begins_otherwise_is_left_alone(data: bytes) -> None:
    assert split_proxy_header(data) == (None, data)


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 nobody 10.0.0.1 5000 443\r\n" + REQUEST,
        b"PROXY TCP4 192.0.2.7",
        V2[:-1],
        SIGNATURE,
        SIGNATURE + b"\x31\x11\x00\x0c" + REQUEST,
    ],
)
def test_what_is_no_header_closes_the_connection(data: bytes) -> None:
    opening, _ = split_proxy_header(data)
    assert opening is not None
    assert opening.header is None
    with pytest.raises(Refusal, match=r"\w") as caught:
        peer_info_of(opening, None, lambda _: True)
    assert caught.value.reason is Reason.PROXY_HEADER_INVALID


def test_a_proxy_may_speak_for_itself() -> None:
    opening, _ = split_proxy_header(LOCAL + REQUEST)
    assert opening is not None
    assert peer_info_of(opening, None, lambda _: True) == PeerInfo(UNKNOWN_PEER, forwards=False)
    assert peer_info_of(opening, PROXY, lambda _: True) == PeerInfo(PROXY, forwards=False)
    assert describe_peer(opening) == "names no client: the proxy speaks for itself"


def test_only_a_trusted_proxy_is_believed() -> None:
    opening, _ = split_proxy_header(V1 + REQUEST)
    assert peer_info_of(opening, PROXY, lambda it: it == PROXY) == PeerInfo(CLIENT, Via.PROXY)
    with pytest.raises(Refusal, match="not in trusted_proxies"):
        peer_info_of(opening, CLIENT, lambda it: it == PROXY)


def test_without_a_header_the_peer_is_whose_connection_it_is() -> None:
    assert peer_info_of(None, CLIENT, lambda _: False) == PeerInfo(CLIENT)
    assert peer_info_of(None, None, lambda _: False) == PeerInfo(UNKNOWN_PEER)


def test_an_opening_shows_none_of_its_bytes() -> None:
    assert "192.0.2.7 10" not in repr(ProxyPrefix(V1, None, "why"))


# ---- a whole capture ------------------------------------------------------------------------
# A captured request is read as the edge reads it.


async def test_a_request_is_read_byte_for_byte() -> None:
    body = b"\x00\xff{}\r\n\r\n"
    raw = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    found = await read_request(raw, max_body=100)
    assert (found.method, found.target, found.body) == ("POST", "/hook?a=b", body)
    assert list(found.headers)[:2] == [("Host", "pay.example"), ("X-Odd", "caf\xe9")]
    assert found.problem is None


async def test_chunks_are_joined() -> None:
    chunks = b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    found = await read_request(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, max_body=100)
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
    found = await read_request(HEAD + rest, max_body=100)
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
        await read_request(raw, max_body=100)
    assert caught.value.reason is reason


async def test_much_is_not_waited_for() -> None:
    found = await read_request(
        HEAD + b"Content-Length: 9000000\r\n\r\n" + bytes(9_000_000), max_body=100
    )
    assert found.problem is not None
    assert found.problem.reason is Reason.BODY_TOO_LARGE
