"""What nothing vouches for has a small share, counted by network, unless its signature fits."""

from ipaddress import ip_address

import pytest

from relay.allowlist import Mode
from relay.core.errors import Reason, Refusal
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.ingest.refusal_share import UnvouchedShare, is_vouched
from relay.providers import EndpointOptions
from relay.providers.builtin import provider_named
from tests.harness.deliveries import ENVIRON, RECEIVED, midtrans_body
from tests.ingest.endpoints import LISTED, endpoint

STRANGER = "203.0.113.9"


def test_a_network_takes_five_of_a_window() -> None:
    share = UnvouchedShare()
    taken = [share.take(ip_address(f"192.0.2.{at}"), 100) for at in range(7)]
    assert taken == [True] * 5 + [False] * 2
    assert share.take(ip_address("192.0.3.1"), 100)
    six = [share.take(ip_address(f"2001:db8:1:{at}::1"), 100) for at in range(6)]
    assert six == [True] * 5 + [False]
    assert share.take(ip_address("2001:db8:2::1"), 100)
    share.renew()
    assert share.take(ip_address("192.0.2.1"), 100)


def test_all_networks_together_are_bounded() -> None:
    share = UnvouchedShare()
    taken = [share.take(ip_address(f"198.{at}.2.1"), 100) for at in range(60)]
    assert taken == [True] * 50 + [False] * 10


def test_so_are_their_bytes() -> None:
    share = UnvouchedShare()
    taken = [share.take(ip_address(f"198.{at}.2.1"), 256 * 1024) for at in range(6)]
    assert taken == [True] * 4 + [False] * 2


KEY = Secret(ENVIRON["MIDTRANS_SERVER_KEY"])


def delivered(client: str, body: bytes) -> Delivery:
    address = ip_address(client)
    head = RequestHead("POST", "/midtrans", Headers(()), address, RECEIVED)
    return Delivery("midtrans", head, ClientAddress(address, Via.PEER), "", body)


def refusal_of(delivery: Delivery, pattern: str | None, key: Secret = KEY) -> tuple[bool, Refusal]:
    """Return whether something vouches for a delivery, and how it was refused."""
    options = EndpointOptions(secrets=(key,), order_id_pattern=pattern)
    inspector = provider_named("midtrans").bind(options)
    with pytest.raises(Refusal) as caught:
        inspector.verify(delivery)
    at = endpoint(mode=Mode.OFF, inspector=inspector)
    return is_vouched(at, delivery, caught.value, UnvouchedShare()), caught.value


@pytest.mark.parametrize(
    ("body", "pattern", "key", "reason", "vouched"),
    [
        (midtrans_body(), None, Secret("another"), Reason.SIGNATURE_MISMATCH, False),
        (b"{", None, KEY, Reason.BODY_MALFORMED, False),
        (b"{}", None, KEY, Reason.SIGNATURE_MISSING, False),
        # Its signature is right: it is a pattern that is too narrow.
        (midtrans_body(), "X[0-9]+", KEY, Reason.FIELD_INVALID, True),
        # Refused before the signature was looked at.
        (b'{"signature_key":"x","order_id":7}', "X", KEY, Reason.FIELD_INVALID, False),
    ],
)
def test_a_stranger_is_vouched_for_by_a_signature_that_fits(
    body: bytes, pattern: str | None, key: Secret, reason: Reason, *, vouched: bool
) -> None:
    found, refusal = refusal_of(delivered(STRANGER, body), pattern, key)
    assert (found, refusal.reason) == (vouched, reason)


def test_a_listed_address_is_vouched_for_in_any_mode() -> None:
    refusal, share = Refusal(Reason.SIGNATURE_MISMATCH), UnvouchedShare()
    for mode in Mode:
        assert is_vouched(endpoint(mode=mode), delivered(LISTED, b"{}"), refusal, share)
    assert not is_vouched(endpoint(mode=Mode.OFF), delivered(STRANGER, b"{}"), refusal, share)


def test_deliveries_are_verified_again_a_bounded_number_of_times() -> None:
    options = EndpointOptions(secrets=(KEY,), order_id_pattern="X[0-9]+")
    at = endpoint(mode=Mode.OFF, inspector=provider_named("midtrans").bind(options))
    refusal, share = Refusal(Reason.FIELD_INVALID), UnvouchedShare()
    genuine = delivered(STRANGER, midtrans_body())
    assert [is_vouched(at, genuine, refusal, share) for _ in range(52)] == [True] * 50 + [False] * 2
    share.renew()
    assert is_vouched(at, genuine, refusal, share)
