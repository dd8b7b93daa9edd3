"""Each change that something on the way makes to a body is undone."""

import gzip
import json

import pytest

from relay.explain.rewritten_body import looks_packed, rewritten

ORIGINAL = '{"name":"é & ü","path":"a/b","amount":"10000.00","n":1}'.encode()


@pytest.mark.parametrize(
    "changed",
    [
        ORIGINAL + b"\n",
        b"\xef\xbb\xbf" + ORIGINAL,
        ORIGINAL.decode().encode("latin-1"),
        ORIGINAL.decode("latin-1").encode(),
        ORIGINAL.decode().encode("utf-16"),
        gzip.compress(ORIGINAL, mtime=0),
        ORIGINAL.replace(b"&", b"&amp;"),
        json.dumps(json.loads(ORIGINAL)).encode(),
        json.dumps(json.loads(ORIGINAL), indent=2, ensure_ascii=False).encode(),
    ],
)
def test_what_was_changed_is_undone(changed: bytes) -> None:
    assert changed != ORIGINAL
    assert ORIGINAL in [body for _, body in rewritten(changed)]


@pytest.mark.parametrize(
    "original",
    [
        ORIGINAL.replace(b"/", b"\\/"),
        json.dumps(json.loads(ORIGINAL), separators=(",", ":")).encode(),
        json.dumps(
            json.loads(ORIGINAL), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode(),
        ORIGINAL + b"\n",
    ],
)
def test_what_was_signed_may_be_written_otherwise(original: bytes) -> None:
    assert original in [body for _, body in rewritten(ORIGINAL)]


def test_a_long_body_is_left_alone() -> None:
    assert [*rewritten(b" " * (256 * 1024 + 1))] == []


def test_no_more_is_unpacked_than_may_be_written_anew() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    assert looks_packed(bomb)
    assert max(len(body) for _, body in rewritten(bomb)) <= 256 * 1024


def test_whatever_is_nested_is_no_trouble() -> None:
    for depth in range(800, 1010, 15):
        assert [*rewritten(b"[" * depth + b"]" * depth)] != []


@pytest.mark.parametrize("body", [b"", b"\x1f\x8b", b"\x1f\x8b\x08" + bytes(30), b"[" * 10_000])
def test_rubbish_is_no_trouble(body: bytes) -> None:
    assert [*rewritten(body)] != []
