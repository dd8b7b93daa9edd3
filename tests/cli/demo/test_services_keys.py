"""The demo's forger never has the sender's key."""

from collections.abc import Callable

import pytest

from relay.cli.demo.services import Pair, asymmetric, shared, standard_webhooks


@pytest.mark.parametrize("make", [shared, asymmetric, standard_webhooks])
def test_every_run_has_keys_of_its_own(make: Callable[[], Pair]) -> None:
    one, two = make(), make()
    assert len({one.signing, one.forged, two.signing, two.forged}) == 4


def test_the_relay_is_given_the_public_half_only() -> None:
    pair = asymmetric()
    assert pair.verifying.startswith("-----BEGIN PUBLIC KEY-----")
    assert b"PRIVATE KEY" in pair.signing.reveal()
