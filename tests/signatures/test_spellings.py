"""Spellings of signatures, and the canonical ones."""

import pytest

from relay.core.errors import Reason, Refusal
from relay.signatures.spellings import AS_BASE64, AS_HEX, Spelling


@pytest.mark.parametrize(
    ("spelling", "text", "digits", "base64"),
    [
        ("hex", "fbff", "fbff", "+/8="),
        ("hex", "FbFf", "fbff", "+/8="),
        ("base64", "+/8=", "fbff", "+/8="),
        ("base64", "+/8", "fbff", "+/8="),
        ("base64url", "-_8=", "fbff", "+/8="),
        ("base64url", "-_8", "fbff", "+/8="),
        ("base64url", "AAAA", "000000", "AAAA"),
    ],
)
def test_canonical_spellings(spelling: Spelling, text: str, digits: str, base64: str) -> None:
    assert AS_HEX[spelling](text) == digits
    assert AS_BASE64[spelling](text) == base64


@pytest.mark.parametrize(
    ("spelling", "text"),
    [
        ("hex", "f"),
        ("hex", "fg"),
        ("hex", "ff ff"),
        ("hex", ""),
        ("base64", "-_8="),
        ("base64", "+/9="),
        ("base64", "+/8=="),
        ("base64", "+/8=\n"),
        ("base64", "A"),
        ("base64", ""),
        ("base64url", "+/8="),
        ("base64url", "-/8"),
        ("base64url", "-_9"),
        ("base64url", "é_8="),
    ],
)
def test_what_stands_for_no_bytes(spelling: Spelling, text: str) -> None:
    other = AS_BASE64 if spelling == "hex" else AS_HEX
    with pytest.raises(Refusal) as caught:
        other[spelling](text)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
