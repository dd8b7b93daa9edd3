"""Where no change makes it fit, reason and content say what is likely wrong."""

from base64 import b64encode, urlsafe_b64encode
from ipaddress import ip_address

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.explain.likely_cause import likely_cause
from relay.signatures import SignedText
from tests.harness.deliveries import RECEIVED

CLIENT = ip_address("192.0.2.7")


def said(
    reason: Reason, body: bytes = b"{}", signature: str = "ab" * 32, *, by_url: bool = False
) -> str | None:
    headers = Headers((("Host", "inner:8080"), ("X-Id", "1")))
    head = RequestHead("POST", "/hook?token=canary", headers, CLIENT, RECEIVED)
    delivery = Delivery("e", head, ClientAddress(CLIENT, Via.PEER), "", body)
    signed = [SignedText((b"text",), signature)]
    return likely_cause(Refusal(reason), delivery, signed, by_url=by_url)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "its body is lost on the way"),
        (b" \n", "its body is lost on the way"),
        (b"\x1f\x8bxyz", "packed with gzip"),
        (b"order_id=1&status_code=200", "its body is a form"),
        (b'{"order_id": "1", "sta', "cut off"),
        (b'{"order_id": "1",', "cut off"),
    ],
)
def test_a_body_that_is_none_is_told(body: bytes, cause: str) -> None:
    assert cause in str(said(Reason.BODY_MALFORMED, body))


def test_of_a_body_that_is_merely_wrong_its_detail_says_it() -> None:
    assert said(Reason.BODY_MALFORMED, b'{"a": 1, "a": 2}') is None
    assert said(Reason.BODY_MALFORMED, b"[" * 100_000) is None
    assert said(Reason.FIELD_INVALID) is None


@pytest.mark.parametrize(
    ("signature", "cause"),
    [
        ("ab" * 31, "cut off, or no digest: 62 hexadecimal digits"),
        ("a" * 63, "cut off, or no digest: 63 hexadecimal digits"),
        ("qrvM3", "cut off, or no Base64: 5 characters"),
        ("qrvM3Q", "cut off: it stands for 4 bytes"),
        ("MEUCIQ", "cut off: it stands for 4 bytes"),
        ("qrvM3Q==", "cut off: it stands for 4 bytes"),
    ],
)
def test_a_signature_that_is_cut_off_is_told(signature: str, cause: str) -> None:
    assert cause in str(said(Reason.SIGNATURE_MISMATCH, signature=signature))


@pytest.mark.parametrize("size", [16, 32, 64, 96, 256])
def test_a_whole_signature_is_not_said_to_be_cut_off(size: int) -> None:
    whole = bytes([0xFB, 0xFF]) * (size // 2)
    pair = bytes([0x30, 70]) + bytes(70)
    for signature in (
        whole.hex().upper(),
        b64encode(whole).decode(),
        urlsafe_b64encode(whole).decode().rstrip("="),
        b64encode(pair).decode(),
        pair.hex(),
    ):
        assert "cut off" not in str(said(Reason.SIGNATURE_MISMATCH, signature=signature))


def test_a_field_that_is_not_there_is_told_with_those_that_are() -> None:
    found = str(said(Reason.SIGNATURE_MISSING))
    assert found.endswith("header fields that are there: Host, X-Id")


def test_the_url_is_named_where_it_is_signed() -> None:
    assert "public_url" not in str(said(Reason.SIGNATURE_MISMATCH))
    found = str(said(Reason.SIGNATURE_MISMATCH, by_url=True))
    assert "another URL than inner:8080 and /hook: write the one registered there" in found
    assert "canary" not in found
