"""Only what can be read in one way passes, however it is cut into pieces."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import Reason
from relay.edge.framing import MAX_CHUNKS, MAX_FIELDS, MAX_HEAD, MAX_LINE, Framing
from tests.edge.smuggling import chunk, forms

HEAD = b"POST /hook HTTP/1.1\r\nHost: relay.test\r\n"
BODY = b'{"order_id": "1"}'
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FORMS = forms(b"/hook", [b"Content-Type: application/json"], BODY, SIZED)

PROPER = [
    SIZED,
    HEAD + b"\r\n",
    HEAD + b"Content-Length: 0\r\n\r\n",
    HEAD + b"Empty:\r\nPadded: \t x \t\r\nBeyond: \xe9\r\n\r\n",
    HEAD + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    HEAD + b"content-length:1\r\nConnection: keep-alive\r\n\r\nx",
    HEAD + b"X-Host: other\r\nHosts: more\r\nOur-Content-Length: 7\r\n\r\n",
    HEAD + (b"X: " + b"x" * (MAX_LINE - 5) + b"\r\n") * 3 + b"\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET /a?b=c/d%20|{} HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n",
    CHUNKED + b"0\r\n\r\n",
    CHUNKED + chunk(BODY),
    HEAD + b"Transfer-Encoding: Chunked\r\n\r\n" + chunk(BODY),
    HEAD + b"TRANSFER-ENCODING:CHUNKED\r\n\r\n" + chunk(BODY),
    CHUNKED + b"3\r\nabc\r\n0000000A\r\n0123456789\r\n00\r\n\r\n",
]


def fed(pieces: Iterable[bytes]) -> tuple[Framing, bytes]:
    """Return what has followed these bytes, and what it let pass."""
    framing = Framing()
    return framing, b"".join([framing.feed(piece) for piece in pieces])


@pytest.mark.parametrize("raw", PROPER)
def test_what_is_proper_passes_as_it_is(raw: bytes) -> None:
    framing, passed = fed([raw])
    assert framing.problem is None
    assert passed == raw
    assert (framing.heads, framing.in_head, framing.in_body) == (1, False, False)


@given(
    st.lists(st.sampled_from(PROPER), min_size=1, max_size=4).map(b"".join),
    st.lists(st.integers(1, 400), max_size=30),
)
def test_requests_may_be_cut_anywhere(raw: bytes, lengths: list[int]) -> None:
    cuts = [sum(lengths[:end]) for end in range(len(lengths) + 1)]
    pieces = [raw[a:b] for a, b in zip(cuts, [*cuts[1:], len(raw)], strict=True)]
    framing, passed = fed(pieces)
    assert framing.problem is None
    assert passed == raw


@pytest.mark.parametrize("raw", PROPER)
def test_byte_by_byte_no_part_of_a_head_passes(raw: bytes) -> None:
    framing = Framing()
    head = raw[: raw.index(b"\r\n\r\n") + 4]
    for at in range(len(head)):
        assert framing.in_head == (at > 0)
        assert framing.feed(raw[at : at + 1]) == (head if at == len(head) - 1 else b"")
    assert not framing.in_head
    assert (
        b"".join(framing.feed(raw[at : at + 1]) for at in range(len(head), len(raw)))
        == (raw[len(head) :])
    )
    assert not framing.in_body


# A form of these is refused by what parses, which knows the methods there are.
_PARSERS = {"method nobody knows"}


@pytest.mark.parametrize("name", sorted(FORMS.keys() - _PARSERS))
@pytest.mark.parametrize("at_once", [True, False])
def test_what_can_be_read_in_two_ways_is_refused(name: str, at_once: bool) -> None:
    raw = FORMS[name]
    pieces = [raw] if at_once else [raw[at : at + 1] for at in range(len(raw))]
    framing, passed = fed([SIZED, *pieces])
    assert framing.problem is not None
    assert framing.problem.reason is Reason.BODY_MALFORMED
    # What came before it is untouched, and of a head that was refused nothing passes.
    assert passed.startswith(SIZED)
    assert passed == SIZED or framing.heads == 2
    assert framing.feed(SIZED) == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /" + b"x" * MAX_LINE,
        HEAD + b"X: " + b"x" * MAX_LINE,
        HEAD + b"X: " + b"x" * MAX_LINE + b"\r\n\r\n",
        HEAD + b"X: x\r\n" * MAX_FIELDS + b"\r\n",
        HEAD + (b"X: " + b"x" * 8000 + b"\r\n") * (MAX_HEAD // 8000 + 1),
    ],
)
def test_a_head_has_limits(raw: bytes) -> None:
    framing, passed = fed([raw])
    assert framing.problem is not None
    assert framing.problem.reason is Reason.HEADERS_TOO_LARGE
    assert passed == b""


def test_chunks_are_counted() -> None:
    framing, _ = fed([CHUNKED, b"1\r\nx\r\n" * (MAX_CHUNKS - 1)])
    assert framing.problem is None
    framing.feed(b"1\r\nx\r\n" * 2)
    assert framing.problem is not None


def test_a_problem_in_a_body_lets_its_head_pass() -> None:
    framing, passed = fed([CHUNKED + b"3\r\nabc\r\nzz"])
    assert passed == CHUNKED
    assert framing.in_body


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(raw: bytes) -> None:
    framing, passed = fed([raw])
    assert raw.startswith(passed)
    assert framing.problem is not None or passed == raw or framing.in_head or framing.in_body


def test_a_problem_quotes_nothing() -> None:
    framing, _ = fed([HEAD + b"Authorization : Bearer of-secrets\r\n"])
    assert framing.problem is not None
    assert "secrets" not in str(framing.problem)
