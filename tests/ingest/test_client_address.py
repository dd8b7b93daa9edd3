"""The client address is right behind trusted proxies, and nobody can choose it."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from relay.core.errors import Reason, Refusal
from relay.core.request import Address, ClientAddress, ForwardedHeader, Headers, RequestHead, Via
from relay.ingest.client_address import (
    _MAX_CLIENTS,
    _MAX_REMEMBERED,
    ClientLocator,
    Clients,
    unmap_ipv4,
)

PROXY = "10.0.0.7"
LISTED, STRANGER = "103.208.23.6", "203.0.113.9"
TRUSTED = [IPNetwork("10.0.0.0/8"), IPNetwork("2001:db8:aaaa::/48")]
XFF, FORWARDED = ForwardedHeader.X_FORWARDED_FOR, ForwardedHeader.FORWARDED


def head(peer: str, *fields: tuple[str, str]) -> RequestHead:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    return RequestHead("POST", "/", Headers(fields), ip_address(peer), at, peer_text=peer)


def client(peer: str, *values: str, header: ForwardedHeader = XFF) -> Address:
    fields = [(header.value, value) for value in values]
    return ClientLocator(TRUSTED, header).locate(head(peer, *fields)).address


def test_an_untrusted_peer_is_the_client_whatever_it_claims() -> None:
    found = ClientLocator(TRUSTED, XFF).locate(
        head("203.0.113.9", ("X-Forwarded-For", "103.208.23.6"), ("Forwarded", "for=103.208.23.6"))
    )
    assert (str(found.address), found.via) == ("203.0.113.9", Via.PEER)


def test_a_peer_of_a_proxy_header_is_the_client_or_one_proxy_more() -> None:
    locator = ClientLocator(TRUSTED, XFF)
    fields = ("X-Forwarded-For", "103.208.23.6")
    told = replace(head("203.0.113.9", fields), via=Via.PROXY)
    assert locator.locate(told) == ClientAddress(ip_address("203.0.113.9"), Via.PROXY)
    two_deep = replace(head(PROXY, fields), via=Via.PROXY)
    found = locator.locate(two_deep)
    assert found == ClientAddress(ip_address("103.208.23.6"), Via.X_FORWARDED_FOR)


@pytest.mark.parametrize(
    ("header", "fields", "said"),
    [
        (XFF, (), "no X-Forwarded-For"),
        (XFF, (("X-Forwarded-For", ""),), "an empty X-Forwarded-For"),
        (XFF, (("Forwarded", "for=192.0.2.1"),), "no X-Forwarded-For, but Forwarded"),
        (FORWARDED, (), "no Forwarded"),
        (FORWARDED, (("X-Forwarded-For", "192.0.2.1"),), "no Forwarded, but X-Forwarded-For"),
    ],
)
def test_a_trusted_proxy_that_names_nobody_is_told_by_what_is_missing(
    header: ForwardedHeader, fields: tuple[tuple[str, str], ...], said: str
) -> None:
    with pytest.raises(Refusal) as caught:
        ClientLocator(TRUSTED, header).locate(head(PROXY, *fields))
    assert caught.value.reason is Reason.FORWARDING_UNTRUSTED
    assert caught.value.detail == f"{PROXY} is in trusted_proxies and sent {said}"


def test_a_list_of_our_proxies_alone_is_told_as_that() -> None:
    with pytest.raises(Refusal, match="the forwarding header holds trusted proxies only"):
        client(PROXY, "10.0.0.8, 10.0.0.9")


@pytest.mark.parametrize("fields", [(), (("X-Forwarded-For", "103.208.23.6"),)])
def test_who_speaks_for_nobody_names_no_client(fields: tuple[tuple[str, str], ...]) -> None:
    alone = replace(head(PROXY, *fields), forwards=False)
    with pytest.raises(Refusal) as caught:
        ClientLocator(TRUSTED, XFF).locate(alone)
    assert caught.value.reason is Reason.FORWARDING_UNTRUSTED


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["103.208.23.6"], "103.208.23.6"),
        (["103.208.23.6, 10.1.1.1"], "103.208.23.6"),
        (["1.2.3.4, 103.208.23.6, 10.1.1.1, 10.2.2.2"], "103.208.23.6"),
        (["1.2.3.4", "103.208.23.6"], "103.208.23.6"),
        (["103.208.23.6:4711"], "103.208.23.6"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["::ffff:103.208.23.6"], "103.208.23.6"),
        (["\t103.208.23.6 "], "103.208.23.6"),
        (["64:ff9b::67d0:1706"], "64:ff9b::67d0:1706"),
        (["103.208.23.6, 2001:db8:aaaa::1"], "103.208.23.6"),
    ],
)
def test_the_rightmost_address_outside_our_proxies_is_the_client(
    values: list[str], expected: str
) -> None:
    assert str(client(PROXY, *values)) == expected


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        [" , "],
        ["103.208.23.6,"],
        [",103.208.23.6"],
        ["103.208.23.6,,10.1.1.1"],
        ["103.208.23.6", ""],
        ["unknown"],
        ["unknown, 103.208.23.6"],
        ["103.208.23.006"],
        ["0103.208.23.6"],
        ["0x67.208.23.6"],
        ["1741690630"],
        ["103.208.5894"],
        ["fe80::1%eth0"],
        ["[fe80::1%25eth0]"],
        ["[103.208.23.6]x"],
        ["103.208.23.6:"],
        ["103.208.23.6:999999"],
        ["103.208.23.6:65536"],
        ["[2001:db8::1]:70000"],
        ["103.208.23.6:\u0661"],
        ["2001:db8::1]:443"],
        ["for=103.208.23.6"],
        ["103.208.23.6/32"],
        ["103.208.23.6;10.1.1.1"],
        ["103.208.23.6 10.1.1.1"],
        ["\u0661\u0660\u0663.208.23.6"],
        ["103.208.23.6\x00"],
        ["10.1.1.1, 10.2.2.2"],
    ],
)
def test_a_list_that_cannot_be_read_refuses(values: list[str]) -> None:
    with pytest.raises(Refusal) as refusal:
        client(PROXY, *values)
    assert refusal.value.reason is Reason.FORWARDING_UNTRUSTED


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["for=103.208.23.6"], "103.208.23.6"),
        (["For=103.208.23.6;proto=https;by=10.0.0.7"], "103.208.23.6"),
        (['proto=https; for="103.208.23.6:4711"'], "103.208.23.6"),
        (['for="[2001:db8::1]:443"'], "2001:db8::1"),
        (["for=1.2.3.4, for=103.208.23.6 , for=10.1.1.1"], "103.208.23.6"),
        (["for=1.2.3.4", "for=103.208.23.6"], "103.208.23.6"),
        (['for="103\\.208.23.6"'], "103.208.23.6"),
    ],
)
def test_the_forwarded_header_is_read_the_same_way(values: list[str], expected: str) -> None:
    assert str(client(PROXY, *values, header=FORWARDED)) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "for",
        "for=",
        "for=unknown",
        "for=_hidden",
        "proto=https",
        "for=1.2.3.4;for=103.208.23.6",
        'for="103.208.23.6',
        "for=103.208.23.6,",
        "for=103.208.23.6;",
        "for=[2001:db8::1]",
        "for=103.208.23.6 x",
        "103.208.23.6",
        'for="1.2.3.4, for=103.208.23.6"',
    ],
)
def test_a_broken_forwarded_header_refuses(value: str) -> None:
    with pytest.raises(Refusal) as refusal:
        client(PROXY, value, header=FORWARDED)
    assert refusal.value.reason is Reason.FORWARDING_UNTRUSTED


def test_only_the_configured_header_is_read() -> None:
    with pytest.raises(Refusal):
        ClientLocator(TRUSTED, XFF).locate(head(PROXY, ("Forwarded", "for=103.208.23.6")))
    with pytest.raises(Refusal):
        ClientLocator(TRUSTED, XFF).locate(head(PROXY, ("X_Forwarded_For", "103.208.23.6")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::ffff:103.208.23.6", "103.208.23.6"),
        ("::103.208.23.6", "::67d0:1706"),
        ("2002:67d0:1706::1", "2002:67d0:1706::1"),
        ("103.208.23.6", "103.208.23.6"),
    ],
)
def test_only_ipv4_mapped_addresses_become_ipv4(text: str, expected: str) -> None:
    assert str(unmap_ipv4(ip_address(text))) == expected


@given(st.text(max_size=80), st.sampled_from(list(ForwardedHeader)))
def test_what_the_client_writes_never_replaces_what_the_proxy_saw(
    claimed: str, header: ForwardedHeader
) -> None:
    seen = "103.208.23.6" if header is XFF else "for=103.208.23.6"
    try:
        found = client(PROXY, claimed, seen, header=header)
    except Refusal:
        return
    assert str(found) == "103.208.23.6"


def test_other_proxies_and_another_header_hold_from_the_next_request_on() -> None:
    locator = ClientLocator(TRUSTED, XFF)
    fields = (("X-Forwarded-For", "103.208.23.6"), ("Forwarded", "for=103.208.23.7"))
    assert str(locator.locate(head(PROXY, *fields)).address) == "103.208.23.6"
    locator.reconfigure(TRUSTED, FORWARDED)
    assert str(locator.locate(head(PROXY, *fields)).address) == "103.208.23.7"
    locator.reconfigure([], FORWARDED)
    assert str(locator.locate(head(PROXY, *fields)).address) == PROXY
    assert not locator.trusts(ip_address(PROXY))


@pytest.mark.parametrize("header", list(ForwardedHeader))
def test_a_list_that_no_row_of_proxies_makes_is_refused_unread(header: ForwardedHeader) -> None:
    locator = ClientLocator([IPNetwork("10.0.0.0/8")], header)
    element = "for=192.0.2.1" if header is ForwardedHeader.FORWARDED else "192.0.2.1"
    for number, taken in ((32, True), (33, False)):
        asked = RequestHead(
            "POST",
            "/",
            Headers(((header.value, ",".join([element] * number)),)),
            ip_address("10.0.0.1"),
            datetime(2026, 1, 5, tzinfo=UTC),
        )
        if taken:
            assert str(locator.locate(asked).address) == "192.0.2.1"
        else:
            with pytest.raises(Refusal) as caught:
                locator.locate(asked)
            assert caught.value.reason is Reason.FORWARDING_UNTRUSTED


# ---- requests in flight ---------------------------------------------------------------------


def clients(limit: int = 2) -> Clients:
    return Clients(ClientLocator(TRUSTED, XFF), limit)


def test_requests_of_one_client_share_their_count_whoever_forwards_them() -> None:
    found = clients()
    directly = found.find(head(LISTED)).share
    assert found.find(head(PROXY, ("X-Forwarded-For", LISTED))).share is directly
    assert found.find(head(PROXY, ("X-Forwarded-For", f"{LISTED},{PROXY}"))).share is directly


def test_addresses_of_one_ipv6_network_share_their_count() -> None:
    found = clients()
    first = found.find(head("2001:db8:0:1::1")).share
    assert found.find(head("2001:db8:0:1::ffff")).share is first
    assert found.find(head("2001:db8:0:2::1")).share is not first


def test_a_remembered_client_is_the_one_that_is_located() -> None:
    locator = ClientLocator(TRUSTED, XFF)
    found = Clients(locator, 2)
    asked = [
        head(LISTED),
        head(PROXY, ("X-Forwarded-For", LISTED)),
        head(PROXY, ("X-Forwarded-For", LISTED), ("X-Forwarded-For", STRANGER)),
        replace(head(LISTED), via=Via.PROXY),
    ]
    for _ in range(2):
        assert [found.find(each).address for each in asked] == list(map(locator.locate, asked))
    with pytest.raises(Refusal):
        found.find(replace(head(LISTED), forwards=False))
    # Other proxies are trusted now: nothing is remembered of the ones before.
    locator.reconfigure([], XFF)
    assert [found.find(each).address for each in asked] == list(map(locator.locate, asked))


def test_the_memory_of_clients_has_an_end() -> None:
    found = clients()
    kept = found.find(head(LISTED)).share
    for number in range(_MAX_CLIENTS + 1):
        found.find(head(str(ip_address(number + (11 << 24)))))
    assert 0 < len(found._peers) <= _MAX_CLIENTS
    # A count goes on as long as a request holds it.
    assert found.find(head(LISTED)).share is kept
    found.find(head(PROXY, ("X-Forwarded-For", ",".join([LISTED] * 30))))
    remembered = [text for peer in found._peers.values() for text in peer.clients]
    assert all(len(text) <= _MAX_REMEMBERED for text in remembered)
