"""What is written of a sender that speaks BI-SNAP."""

from datetime import timedelta

import pytest

from relay.cli.demo.services import asymmetric
from relay.config.endpoints import endpoint_options, provider_of
from relay.config.settings import Endpoint
from relay.config.snap_sender import SnapSender
from tests.config.files import ENVIRON, GOOD, good, mistakes

PUBLIC = ENVIRON | {"PUBLIC": asymmetric().verifying}
SNAP = """\
  - name: bank
    path: /bank
    secrets: ["${env:PUBLIC}"]
    upstream: billing
    allowlist: {mode: off}
    provider: {name: bank, snap: {}}
"""
SYMMETRIC = """\
  - name: bank
    path: /bank
    secrets: ["${env:OTHER}"]
    upstream: billing
    allowlist: {mode: off}
    provider: {name: bank, snap: {signature: symmetric}}
    tokens: {client_id: B1, keys: ["${env:PUBLIC}"]}
"""


def bank(text: str) -> Endpoint:
    return good(GOOD + text, PUBLIC).endpoints[1]


def test_an_asymmetric_sender() -> None:
    endpoint = bank(SNAP)
    assert isinstance(endpoint.provider, SnapSender)
    info = provider_of(endpoint).info
    assert (info.name, endpoint.environment) == ("bank", "live")
    assert "RSA" in info.signature
    assert [shape.path for shape in info.shapes] == [*endpoint.provider.snap.services]
    assert endpoint_options(endpoint, info).tokens is None


def test_a_symmetric_sender() -> None:
    endpoint = bank(SYMMETRIC.replace("]}\n", "], life: 1h}\n"))
    info = provider_of(endpoint).info
    assert "HMAC-SHA512" in info.signature
    assert "/v1.0/access-token/b2b" in [shape.path for shape in info.shapes]
    rules = endpoint_options(endpoint, info).tokens
    assert rules is not None
    assert (rules.client_id, rules.life) == ("B1", timedelta(hours=1))
    assert len(rules.keys) == 1
    assert bank(SYMMETRIC).tokens is not None


def test_its_keys_are_secrets_that_are_masked_everywhere() -> None:
    settings = good(GOOD + SYMMETRIC, PUBLIC)
    endpoint = settings.endpoints[1]
    assert endpoint.tokens is not None
    assert endpoint.tokens.keys[0] in settings.every_secret()
    assert "BEGIN" not in repr(endpoint)


def test_paths_and_codes_of_its_own() -> None:
    own = '{services: {/v1.1/transfer-va/payment: 25, /x/notify: "07"}, echo: [trxId]}'
    endpoint = bank(SNAP.replace("snap: {}", f"snap: {own}"))
    assert isinstance(endpoint.provider, SnapSender)
    dialect = endpoint.provider.snap.dialect()
    assert dialect.services == {"/v1.1/transfer-va/payment": "25", "/x/notify": "07"}
    assert dialect.echoed == ("trxId",)


@pytest.mark.parametrize("word", ["'a b'", "''", "é", "{}"])
def test_a_client_id_is_what_a_header_holds(word: str) -> None:
    found = mistakes(GOOD + SYMMETRIC.replace("client_id: B1", f"client_id: {word}"), PUBLIC)
    assert ["tokens.client_id" in each for each in found] == [True]
