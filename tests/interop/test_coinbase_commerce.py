"""coinbase-commerce, of PyPI."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.interop.agreement import Signed, SignsToo

pytestmark = pytest.mark.interop


class TestCoinbaseCommerce(SignsToo):
    sender = "coinbase-commerce"
    module = "coinbase_commerce.webhook"
    distribution = "coinbase-commerce"
    needed = ("X-CC-Webhook-Signature",)

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        value = message.header("X-CC-Webhook-Signature")
        try:
            theirs.WebhookSignature.verify_sig_header(message.body.decode(), value, secret)
        except (theirs.SignatureVerificationError, UnicodeDecodeError):
            return False
        return True

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        signature = theirs.WebhookSignature._compute_signature(message.body.decode(), secret)
        return {"X-CC-Webhook-Signature": signature}
