"""A key that signs for all customers of a sender says nothing of whose message it is."""

import pytest

from relay.config.lint_merchants import merchant_advice
from tests.config.files import GOOD, good
from tests.config.test_snap_sender import PUBLIC, SNAP, SYMMETRIC


def codes(text: str) -> list[str]:
    endpoint = good(GOOD + text, PUBLIC).endpoints[1]
    return [each.code for each in merchant_advice(endpoint, ("endpoints", 1))]


@pytest.mark.parametrize(
    "bound", ['    merchant_id: "1"\n', '    must: [{json: /merchantId, is: "1"}]\n']
)
def test_a_gateways_own_key(bound: str) -> None:
    assert codes(SNAP) == ["any-merchant"]
    assert codes(SNAP + bound) == []


def test_a_secret_of_two_sides_is_of_one_merchant() -> None:
    assert codes(SYMMETRIC) == []


TOKENS = """\
  - name: tokens
    path: /tokens
    secrets: ["${env:PUBLIC}"]
    upstream: billing
    allowlist: {mode: off}
    provider: {name: bank, signature: {scheme: jwt, algorithms: [RS256]%s}}
"""


@pytest.mark.parametrize(
    "bound", [", audience: us", ", claims: {body_sha256: request_hash}, from: {header: X-Token}"]
)
def test_a_token_that_may_be_for_anybody(bound: str) -> None:
    assert codes(TOKENS % "") == ["any-merchant"]
    assert codes(TOKENS % bound) == []
