"""Values that are masked in the body, and stand beside it, are named."""

import pytest

from tests.config.files import GOOD, good
from tests.config.lints import findings

INLINE = (
    GOOD.partition("    provider:")[0]
    + """\
    provider:
      name: shop
      networks: {live: {cidrs: ["198.51.100.0/24"]}}
      signature: {scheme: hmac, algorithm: sha256, from: {header: X-Sig}, signed: "{body}"}
      event_key: {json: [/id]}
      references: [{json: /customer/number}]
    secrets: ["${env:KEY}"]
    upstream: billing
"""
)


def said_of(pointers: str, text: str = GOOD) -> list[str]:
    found = findings(good(f"{text}    redact: {pointers}\n"))
    return [each for each in found if "redacted-and-shown" in each]


def test_a_reference_of_a_built_in_provider() -> None:
    [said] = said_of("[/order_id, /masked_card, /va_numbers/*/va_number]")
    assert ": warning: endpoints.0.redact.0: is a reference, which is shown in lists" in said


@pytest.mark.parametrize("pointer", ["/card/number", "/order_id/x", "/metadata/*/order_id"])
def test_others_are_not(pointer: str) -> None:
    assert said_of(f'["{pointer}"]') == []


def test_keys_and_references_of_a_described_sender() -> None:
    key, reference = said_of("[/id, /customer/number, /customer/name]", INLINE)
    assert "redact.0: is a part of the event key" in key
    assert "redact.1: is a reference" in reference
