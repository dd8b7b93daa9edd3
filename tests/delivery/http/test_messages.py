import pytest

from relay.delivery.http.messages import (
    MAX_FIELDS,
    MAX_KNOWN_HEAD,
    MAX_KNOWN_HEADS,
    MAX_OVERHEAD,
    Closed,
    ExchangeFailed,
    KnownHeads,
    Malformed,
    Origin,
    Response,
    ResponseParser,
    TooLong,
    encode,
)

LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(*pieces: bytes, response: Response | None = None) -> tuple[ResponseParser, Response]:
    """Feed these pieces to a new reader; every one but the last leaves something wanted."""
    reader, response = ResponseParser(LIMIT), response or Response()
    reader.expect(response)
    for at, piece in enumerate(pieces, 1):
        enough = reader.feed(piece)
        assert at == len(pieces) or not enough
    return reader, response


def heads_only(_: int) -> bool:
    return False


# ---- whole answers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status", "body", "reusable"),
    [
        (OK, 200, b"hi", True),
        (b"HTTP/1.1 200\r\ncontent-length:2\r\n\r\nhi", 200, b"hi", True),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 500, b"", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, b"", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
            200,
            b"hi",
            True,
        ),
        (
            CHUNKED + b"1;name=value\r\nh\r\n001\r\ni\r\n0\r\nX-Trailer: x\r\n\r\n",
            200,
            b"hi",
            True,
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"hi", True),
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 5\r\n\r\n" + OK,
            200,
            b"hi",
            True,
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + OK, 200, b"hi", True),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n?", 101, b"", False),
        (b"HTTP/1.1 101 Switching\r\n\r\n?", 101, b"", False),
        (b"HTTP/1.1 101 Switching\r\n\r\n" + OK, 101, b"", False),
    ],
)
def test_an_answer_is_read_alike_in_one_piece_and_in_many(
    raw: bytes, status: int, body: bytes, reusable: bool
) -> None:
    reader, response = ResponseParser(LIMIT), Response()
    reader.expect(response)
    assert reader.feed(raw)
    assert (response.status, response.body, response.complete) == (status, body, True)
    assert reader.reusable is reusable
    reader, response = ResponseParser(LIMIT), Response()
    reader.expect(response)
    enough = [reader.feed(raw[at : at + 1]) for at in range(len(raw))]
    assert True in enough
    assert (response.status, response.body, response.complete) == (status, body, True)
    assert reader.reusable is reusable


def test_answers_are_read_one_after_another() -> None:
    reader = ResponseParser(LIMIT)
    chunked = (
        b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n1\r\nx\r\n0\r\nT: u\r\n\r\n"
    )
    for raw, status in ((OK, 200), (chunked, 404), (b"HTTP/1.1 204 No\r\n\r\n", 204), (OK, 200)):
        response = Response()
        reader.expect(response)
        assert not reader.reusable
        assert reader.feed(raw)
        assert (response.status, reader.reusable) == (status, True)


def test_fields_are_found_without_case_and_in_order() -> None:
    _, response = read(
        b"HTTP/1.1 200 OK\r\nX-a: caf\xe9\r\nContent-Length: 0\r\nx-A:  2 \r\n\r\n",
    )
    assert response.values("x-a") == ["caf\xe9", "2"]
    assert response.values("x-b") == []


def test_fields_of_hints_and_trailers_are_not_fields_of_the_answer() -> None:
    _, response = read(
        b"HTTP/1.1 103 Hint\r\nRetry-After: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nRetry-After: 2\r\n\r\n",
    )
    assert response.values("retry-after") == []


def test_an_answer_to_head_ends_with_its_head() -> None:
    for framing in (b"", b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n"):
        raw = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"
        reader, response = read(raw, response=Response(to_head=True))
        assert (response.complete, response.body) == (True, b"")
        assert not reader.reusable


def test_a_body_that_nobody_wants_is_not_waited_for() -> None:
    head = b"HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\n"
    reader, response = read(head[:-2], head[-2:], response=Response(heads_only))
    assert (response.status, response.complete, reader.reusable) == (500, False, False)
    # One that has come with its head costs nothing, and keeps the connection.
    reader, response = read(head + b"0123456789", response=Response(heads_only))
    assert (response.complete, reader.reusable) == (True, True)


# ---- what follows an answer -----------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [OK, b"H", b"garbage", b"\0", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 9]
)
def test_bytes_behind_an_answer_are_nobodys_and_cost_the_connection(more: bytes) -> None:
    reader, response = read(OK + more)
    assert (response.status, response.body, response.complete) == (200, b"hi", True)
    assert not reader.reusable


# ---- the end of the connection --------------------------------------------------------------


def test_the_end_ends_a_body_that_has_no_length() -> None:
    reader, response = read(b"HTTP/1.1 200 OK\r\n\r\nh", b"i")
    assert not response.complete
    reader.end()
    assert (response.complete, response.body, reader.reusable) == (True, b"hi", False)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
    ],
)
def test_the_end_before_the_end_of_an_answer_is_told(raw: bytes) -> None:
    reader, response = read(raw)
    with pytest.raises(Closed):
        reader.end()
    assert not response.complete
    assert not reader.reusable


def test_the_end_after_an_answer_is_no_fault() -> None:
    reader, response = read(OK)
    reader.end()
    assert response.complete
    assert not reader.reusable


# ---- what is no answer ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"\0",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x16\x03\x01\x00\xff",
        b"GET / HTTP/1.1\r\n",
        b"HTTP/1.1 99999 No\r\n",
        b"HTTP/1.1 20 No\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/1.1 000 No\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_FIELDS + 2),
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_FIELDS + 1) + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * MAX_OVERHEAD,
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * MAX_OVERHEAD + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 " + b"b" * MAX_OVERHEAD,
    ],
)
def test_garbage_is_malformed_and_has_no_status(raw: bytes) -> None:
    response = Response()
    with pytest.raises(Malformed):
        read(raw, response=response)
    assert response.status is None


@pytest.mark.parametrize(
    "more",
    [
        b"x\r\n",
        b"2\r\nhixx",
        b"-1\r\n",
        b"1" * 20 + b"\r\n",
        b"1;" + b"a" * MAX_OVERHEAD,
        b"0\r\n" + b"A: b\r\n" * (MAX_FIELDS + 2),
        b"0\r\nA: " + b"b" * MAX_OVERHEAD,
    ],
)
def test_a_body_may_turn_out_malformed_behind_its_head(more: bytes) -> None:
    response = Response()
    with pytest.raises(Malformed):
        read(CHUNKED, more, response=response)
    assert (response.status, response.complete) == (200, False)


def test_a_never_ending_head_is_malformed_however_it_drips() -> None:
    reader = ResponseParser(LIMIT)
    reader.expect(Response())
    reader.feed(b"HTTP/1.1 200 OK\r\nA: ")
    for _ in range(MAX_OVERHEAD // 1000):
        assert not reader.feed(b"b" * 1000)
    with pytest.raises(Malformed):
        reader.feed(b"b" * 1000)


def test_hints_are_no_overhead_of_the_answer_behind_them() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 1000 + b"\r\n\r\n"
    _, response = read(*[hint] * (MAX_OVERHEAD // 1000 + 1), OK)
    assert response.complete


def test_a_body_is_no_overhead() -> None:
    reader, response = ResponseParser(10 * MAX_OVERHEAD), Response()
    reader.expect(response)
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(5):
        reader.feed(b"b" * MAX_OVERHEAD)
    assert response.length == 5 * MAX_OVERHEAD


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"]
)
def test_a_body_is_read_up_to_the_limit(head: bytes) -> None:
    reader, response = read(head, b"x" * LIMIT)
    assert response.body == b"x" * LIMIT
    with pytest.raises(TooLong):
        reader.feed(b"x")
    assert response.status == 200
    assert not reader.reusable


def test_a_body_of_the_longest_length_is_whole() -> None:
    reader, response = read(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * LIMIT)
    assert (response.complete, len(response.body), reader.reusable) == (True, LIMIT, True)


# ---- a request ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://a.test", Origin("a.test", "a.test", 80, False, "a.test", "http://a.test")),
        (
            "https://a.test/x?y",
            Origin("a.test", "a.test", 443, True, "a.test", "https://a.test"),
        ),
        (
            "http://A.test:80/",
            Origin("a.test", "a.test", 80, False, "A.test", "http://A.test:80"),
        ),
        (
            "https://a.test:80",
            Origin("a.test", "a.test", 80, True, "a.test:80", "https://a.test:80"),
        ),
        (
            "http://a.test.:81/",
            Origin("a.test.", "a.test", 81, False, "a.test:81", "http://a.test.:81"),
        ),
        ("http://[::1]/", Origin("::1", "::1", 80, False, "[::1]", "http://[::1]")),
        (
            "http://[::1]:8080?x",
            Origin("::1", "::1", 8080, False, "[::1]:8080", "http://[::1]:8080"),
        ),
        (
            "http://user:word@a.test:81",
            Origin("a.test", "a.test", 81, False, "a.test:81", "http://user:word@a.test:81"),
        ),
    ],
)
def test_an_origin_is_what_stands_before_the_path(url: str, origin: Origin) -> None:
    assert Origin.of(url) == origin


@pytest.mark.parametrize(
    "url", ["", "a.test", "ftp://a.test", "http://", "http:///x", "http://:80"]
)
def test_an_origin_is_http_and_has_a_host(url: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        Origin.of(url)


@pytest.mark.parametrize(
    ("rest", "target"),
    [
        ("", "/"),
        ("/", "/"),
        ("?a=b", "/?a=b"),
        ("/a%2fb//c;d?x=%2F&&y='\"|", "/a%2fb//c;d?x=%2F&&y='\"|"),
        ("/a/../b", "/a/../b"),
    ],
)
def test_a_target_is_the_rest_as_it_is_written(rest: str, target: str) -> None:
    assert Origin.of("http://a.test:81").target("http://a.test:81" + rest) == target


@pytest.mark.parametrize("url", ["http://b.test:81/", "http://a.test:811/", "/a", ""])
def test_a_url_of_somebody_else_has_no_target(url: str) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        Origin.of("http://a.test:81").target(url)


FIELDS = [("Content-Type", "text/plain"), ("X-Two", "1"), ("X-Two", "2"), ("X-Latin", "caf\xe9")]


def test_a_request_is_written_in_order_and_byte_for_byte() -> None:
    assert encode("POST", "/x?y", "a.test:81", FIELDS, b"\r\n\0\xff") == (
        b"POST /x?y HTTP/1.1\r\n"
        b"Host: a.test:81\r\n"
        b"Content-Type: text/plain\r\n"
        b"X-Two: 1\r\n"
        b"X-Two: 2\r\n"
        b"X-Latin: caf\xe9\r\n"
        b"Content-Length: 4\r\n"
        b"\r\n"
        b"\r\n\0\xff"
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_body_is_a_length_of_zero(method: str) -> None:
    assert encode(method, "/", "a", [], b"").endswith(b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_no_body_is_no_length_where_nobody_expects_a_body(method: str) -> None:
    assert b"Content-Length" not in encode(method, "/", "a", [], b"")
    assert encode(method, "/", "a", [], b"x").endswith(b"\r\nContent-Length: 1\r\n\r\nx")


@pytest.mark.parametrize("bad", ["a\r\nb", "a\rb", "a\nb", "a\0b", "\r\n", "a\r\n", "\u20ac"])
@pytest.mark.parametrize("where", ["method", "target", "authority", "name", "value"])
def test_nothing_can_end_its_line_early(where: str, bad: str) -> None:
    parts = {"method": "POST", "target": "/", "authority": "a", "name": "X", "value": "y"}
    parts[where] = bad
    fields = [(parts["name"], parts["value"])]
    with pytest.raises(ValueError, match=r"line|Latin-1|latin-1"):
        encode(parts["method"], parts["target"], parts["authority"], fields, b"")


@pytest.mark.parametrize(("method", "target"), [("POST /a", "/b"), ("POST", "/a b"), ("", " / ")])
def test_a_request_line_has_three_parts(method: str, target: str) -> None:
    with pytest.raises(ValueError, match="blank"):
        encode(method, target, "a", [], b"")


# ---- heads that are known -------------------------------------------------------------------


def answered(heads: KnownHeads, raw: bytes, *, to_head: bool = False) -> tuple[bool, Response]:
    """Read one answer as a connection does; return whether its head was known."""
    response = Response(to_head=to_head)
    if heads.read(raw, response):
        return True, response
    reader = ResponseParser(LIMIT)
    reader.expect(response)
    try:
        enough = reader.feed(raw)
    except ExchangeFailed:
        return False, response
    if enough and reader.reusable:
        heads.add(raw, response)
    return False, response


def shown(response: Response) -> tuple[object, ...]:
    names = ("content-length", "content-type", "retry-after", "keep-alive", "x-a")
    values = [response.values(name) for name in names]
    return response.status, response.complete, response.length, response.body, values


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "503 Busy", "200"])
@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2",
        b"X-A: 1\r\nContent-Length: 2\r\nx-a: caf\xe9 ",
        b"Retry-After: 7\r\nKeep-Alive: timeout=5\r\nContent-Type: a/b\r\nContent-Length:2",
    ],
)
def test_a_known_head_reads_as_the_parser_does(status: str, fields: bytes) -> None:
    heads = KnownHeads()
    head = b"HTTP/1.1 " + status.encode() + b"\r\n" + fields + b"\r\n\r\n"
    for number, body in enumerate((b"hi", b"\r\n", b"\0\0", b"ho")):
        known, response = answered(heads, head + body)
        assert known == (number > 0)
        assert shown(response) == shown(answered(KnownHeads(), head + body)[1])


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhi",
        b"HTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 02\r\n\r\nhi",
        b"HTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 100 Go\r\n\r\n" + OK + OK,
        OK + OK,
        OK + b"x",
        OK[:-1],
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_KNOWN_HEAD + b"\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_unusual_answer_is_left_to_the_parser_each_time(raw: bytes) -> None:
    heads = KnownHeads()
    first, second = answered(heads, raw), answered(heads, raw)
    assert (first[0], second[0]) == (False, False)
    assert shown(first[1]) == shown(second[1])


@pytest.mark.parametrize("more", [b"", b"h", b"hi!", b"hi" + OK])
def test_a_known_head_without_its_very_body_is_left_to_the_parser(more: bytes) -> None:
    heads = KnownHeads()
    answered(heads, OK)
    assert not heads.read(OK[:-2] + more, Response())
    assert not heads.read(OK[:-6], Response())


def test_the_answer_to_a_head_request_is_left_to_the_parser() -> None:
    heads = KnownHeads()
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    answered(heads, empty)
    assert not answered(heads, empty, to_head=True)[0]
    assert answered(heads, empty)[0]


def test_no_more_heads_are_remembered_than_fit() -> None:
    heads = KnownHeads()
    for number in range(10 * MAX_KNOWN_HEADS):
        answered(heads, b"HTTP/1.1 200 OK\r\nDate: %d\r\nContent-Length: 0\r\n\r\n" % number)
        assert len(heads._known) <= MAX_KNOWN_HEADS
