"""A PROXY header before a request is found, read as the edge reads it, and judged."""

from ipaddress import ip_address

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import Via
from relay.edge.connections import PeerInfo
from relay.explain.capture import NOBODY, Opening, peer_info_of, split, told

REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2 = SIGNATURE + bytes([0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 1, 19, 136, 1, 187])
LOCAL = SIGNATURE + bytes([0x20, 0, 0, 0])
CLIENT, PROXY = ip_address("192.0.2.7"), ip_address("10.0.0.1")


@pytest.mark.parametrize(("raw", "lines"), [(V1, 1), (V2, 4)])
def test_both_versions_are_taken_off(raw: bytes, lines: int) -> None:
    opening, rest = split(raw + REQUEST)
    assert rest == REQUEST
    assert opening is not None
    assert (opening.raw, opening.lines) == (raw, lines)
    assert peer_info_of(opening, None, lambda _: False) == PeerInfo(CLIENT, Via.PROXY)
    assert told(opening) == "192.0.2.7 connected to the proxy; --peer is the proxy's own address"


def test_the_line_end_of_an_editor_is_mended() -> None:
    opening, rest = split(V1.replace(b"\r", b"") + b"POST / HTTP/1.1\nHost: a\n\n")
    assert opening is not None
    assert (opening.raw, rest) == (V1, b"POST / HTTP/1.1\nHost: a\n\n")


@pytest.mark.parametrize("data", [b"", b"\r\n", REQUEST, b"PROXY / HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_what_begins_otherwise_is_left_alone(data: bytes) -> None:
    assert split(data) == (None, data)


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
    opening, _ = split(data)
    assert opening is not None
    assert opening.header is None
    with pytest.raises(Refusal, match=r"\w") as caught:
        peer_info_of(opening, None, lambda _: True)
    assert caught.value.reason is Reason.PROXY_HEADER_INVALID


def test_a_proxy_may_speak_for_itself() -> None:
    opening, _ = split(LOCAL + REQUEST)
    assert opening is not None
    assert peer_info_of(opening, None, lambda _: True) == PeerInfo(NOBODY, forwards=False)
    assert peer_info_of(opening, PROXY, lambda _: True) == PeerInfo(PROXY, forwards=False)
    assert told(opening) == "names no client: the proxy speaks for itself"


def test_only_a_trusted_proxy_is_believed() -> None:
    opening, _ = split(V1 + REQUEST)
    assert peer_info_of(opening, PROXY, lambda it: it == PROXY) == PeerInfo(CLIENT, Via.PROXY)
    with pytest.raises(Refusal, match="not in trusted_proxies"):
        peer_info_of(opening, CLIENT, lambda it: it == PROXY)


def test_without_a_header_the_peer_is_whose_connection_it_is() -> None:
    assert peer_info_of(None, CLIENT, lambda _: False) == PeerInfo(CLIENT)
    assert peer_info_of(None, None, lambda _: False) == PeerInfo(NOBODY)


def test_an_opening_shows_none_of_its_bytes() -> None:
    assert "192.0.2.7 10" not in repr(Opening(V1, None, "why"))
