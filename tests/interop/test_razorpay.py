"""razorpay, of PyPI."""

from random import Random
from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed, text

pytestmark = pytest.mark.interop


class TestRazorpay(Agreement):
    sender = "razorpay"
    module = "razorpay.utility.utility"
    distribution = "razorpay"
    needed = ("X-Razorpay-Signature",)

    def headers(self, dice: Random) -> dict[str, str]:
        return {"X-Razorpay-Event-Id": text(dice, 14)}

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        value = message.header("X-Razorpay-Signature")
        try:
            return bool(
                theirs.Utility().verify_webhook_signature(message.body.decode(), value, secret)
            )
        except (theirs.SignatureVerificationError, UnicodeDecodeError):
            return False
