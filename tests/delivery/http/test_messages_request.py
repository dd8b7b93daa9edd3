import pytest

from relay.delivery.http.messages import Origin, encode


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
