"""A plain head is read as aiohttp reads it, and no proof in it is remembered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.edge import heads
from relay.edge.framing import MAX_FIELDS, MAX_LINE, Framing
from relay.edge.heads import is_health_check, read_head
from tests.edge.test_framing import FORMS, PROPER

START = b"POST /hook?a=b HTTP/1.1"


def lines(*fields: bytes, start: bytes = START) -> bytes:
    return b"\r\n".join([start, b"Host: relay.test", *fields])


def test_a_plain_head_is_read() -> None:
    head = read_head(
        lines(b"Content-Length: 7", b"X-Odd: \t\xe9 \t", b"x-odd:2", b"Connection: Close")
    )
    assert head is not None
    assert (head.method, head.target, head.length, head.keep) == ("POST", "/hook?a=b", 7, False)
    assert list(head.headers) == [
        ("Host", "relay.test"),
        ("Content-Length", "7"),
        ("X-Odd", "\xe9"),
        ("x-odd", "2"),
        ("Connection", "Close"),
    ]
    assert not head.encoded


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(b"identity", False), (b"Identity , identity", False), (b"gzip", True), (b"", True)],
)
def test_a_named_coding_is_noted(value: bytes, encoded: bool) -> None:
    head = read_head(lines(b"Content-Encoding: " + value))
    assert head is not None
    assert head.encoded is encoded


@pytest.mark.parametrize(
    "raw",
    [
        lines(start=b"POST /hook HTTP/1.0"),
        lines(start=b"HEAD /hook HTTP/1.1"),
        lines(start=b"POST /hook# HTTP/1.1"),
        lines(start=b"POST hook HTTP/1.1"),
        lines(start=b"post /hook HTTP/1.1"),
        START,
        lines(b"Host: other"),
        lines(b"Content-Length: 1", b"Content-Length: 1"),
        lines(b"Content-Length: +1"),
        lines(b"Content-Length: "),
        lines(b"Connection: upgrade"),
        lines(b"Connection: close", b"Connection: keep-alive"),
        lines(b"Proxy-Connection: close"),
        lines(b"Content-Type: a", b"content-type: a"),
        lines(b"Expect: 100-continue"),
        lines(b"Transfer-Encoding: chunked"),
        lines(b"Trailer: x"),
        lines(b"Content-Encoding: identity\xa0"),
        lines(b" folded: x"),
        lines(b"X : x"),
        lines(b"X: a\x00b"),
        lines(b"X: a\nb"),
        lines(b""),
        lines(*[b"X: x"] * MAX_FIELDS),
        lines(b"X: " + b"x" * MAX_LINE),
    ],
)
def test_what_is_not_plain_is_not_read(raw: bytes) -> None:
    assert read_head(raw) is None


@pytest.mark.parametrize("raw", [*PROPER, *FORMS.values()])
def test_what_is_read_passes_the_framing(raw: bytes) -> None:
    _agrees(raw.partition(b"\r\n\r\n")[0])


@given(st.data())
def test_what_is_read_passes_the_framing_however_it_is_changed(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(PROPER)).partition(b"\r\n\r\n")[0])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"\r\n", b"\n", b" ", b"\r\nHost: a", b"\x00", b":", b"\r\nX: 1"])
        )
    _agrees(bytes(raw))


def _agrees(raw: bytes) -> None:
    head = read_head(raw)
    if head is None or b"\r\n\r\n" in raw:
        return
    framing = Framing()
    framing.feed(raw + b"\r\n\r\n" + bytes(min(head.length, 1000)))
    assert framing.problem is None
    assert framing.heads >= 1
    assert framing.in_body == (head.length > 1000)


def test_what_may_be_a_proof_is_not_remembered() -> None:
    proofs = [b"Authorization: c", b"Cookie: c", b"X-Signature: c", b"X-Anything: c"]
    assert read_head(lines(*proofs, start=b"POST /hook?token=c HTTP/1.1")) is not None
    assert not [each for each in heads._lines if each in proofs]
    assert not [each for each in heads._starts if b"token" in each]
    assert b"Host: relay.test" in heads._lines


def test_the_memory_of_lines_has_an_end() -> None:
    for number in range(heads._MAX_LINES + 9):
        assert read_head(lines(b"User-Agent: %d" % number)) is not None
        assert read_head(lines(start=b"POST /%d HTTP/1.1" % number)) is not None
    assert len(heads._lines) <= heads._MAX_LINES
    assert len(heads._starts) <= heads._MAX_LINES
    assert read_head(lines(b"Via: " + b"x" * 200)) is not None
    assert all(len(each) <= heads._MAX_REMEMBERED for each in heads._lines)


def test_a_health_check_is_known_by_its_target() -> None:
    assert is_health_check("GET", "/healthz")
    assert is_health_check("HEAD", "/healthz")
    assert not is_health_check("POST", "/healthz")
    assert not is_health_check("GET", "/healthz?")
