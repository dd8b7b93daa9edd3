"""stripe, of PyPI."""

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from tests.interop.agreement import Signed, SignsToo, text

pytestmark = pytest.mark.interop


class TestStripe(SignsToo):
    sender = "stripe"
    module = "stripe"
    distribution = "stripe"
    needed = ("Stripe-Signature",)

    def secret(self, dice: Random) -> str:
        return "whsec_" + text(dice, 32)

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        try:
            value = message.header("Stripe-Signature")
            theirs.WebhookSignature.verify_header(message.body.decode(), value, secret, 300)
        except (theirs.SignatureVerificationError, UnicodeDecodeError):
            return False
        return True

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        at = int(message.at.timestamp())
        signature = theirs.WebhookSignature._compute_signature(
            f"{at}.{message.body.decode()}", secret
        )
        return {"Stripe-Signature": f"t={at},v1={signature}"}
