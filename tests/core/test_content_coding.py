"""gzip is undone within its bound, and anything but one whole member is refused."""

import gzip
import time
from contextlib import suppress

import pytest

from relay.core.content_coding import gunzip, is_gzip
from relay.core.errors import Reason, Refusal

BODY = b'{"id": "1"}' * 10
PACKED = gzip.compress(BODY, mtime=0)


@pytest.mark.parametrize(
    ("values", "packed"),
    [
        ((), False),
        (("identity",), False),
        (("gzip",), True),
        (("X-GZip",), True),
        (("identity, gzip",), True),
        (("identity", "gzip"), True),
        (("gzip, gzip",), False),
        (("gzip", "gzip"), False),
        (("gzip, br",), False),
        (("deflate",), False),
        (("",), False),
        (("gzip,",), False),
    ],
)
def test_which_codings_are_gzip_alone(values: tuple[str, ...], packed: bool) -> None:
    assert is_gzip(values) is packed


@pytest.mark.parametrize("level", range(10))
def test_what_is_inside_comes_out(level: int) -> None:
    assert gunzip(gzip.compress(BODY, level), len(BODY)) == BODY
    assert gunzip(gzip.compress(b"", level), 0) == b""


def refused(body: bytes, limit: int = 1000) -> Reason:
    with pytest.raises(Refusal) as refusal:
        gunzip(body, limit)
    return refusal.value.reason


def test_more_than_the_limit_is_too_large() -> None:
    assert refused(PACKED, len(BODY) - 1) is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize(
    "body", [b"", b"{}", PACKED + b"\0", PACKED + PACKED, PACKED + PACKED[:5], b"\x1f\x8b"]
)
def test_anything_else_is_malformed(body: bytes) -> None:
    assert refused(body) is Reason.BODY_MALFORMED


def test_every_beginning_and_every_flipped_bit_is_refused_or_says_the_same() -> None:
    for length in range(len(PACKED)):
        assert refused(PACKED[:length]) is Reason.BODY_MALFORMED
    for at in range(len(PACKED) * 8):
        flipped = bytearray(PACKED)
        flipped[at // 8] ^= 1 << at % 8
        with suppress(Refusal):
            assert gunzip(bytes(flipped), 1000) == BODY


def test_a_bomb_costs_no_more_than_its_limit() -> None:
    bomb = gzip.compress(bytes(20_000_000))
    limit = 256 * 1024
    started = time.perf_counter()
    assert refused(bomb, limit) is Reason.BODY_TOO_LARGE
    assert time.perf_counter() - started < 0.05
