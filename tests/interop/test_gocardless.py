"""gocardless_pro, of PyPI."""

from random import Random
from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed, json_body, text

pytestmark = pytest.mark.interop


class TestGoCardless(Agreement):
    sender = "gocardless"
    module = "gocardless_pro.webhooks"
    distribution = "gocardless_pro"
    needed = ("Webhook-Signature",)

    def body(self, dice: Random) -> bytes:
        event = json_body(dice).strip()
        meta = b'{"webhook_id":"WB' + text(dice, 12).encode() + b'"}'
        return b'{"events":[' + event + b'],"meta":' + meta + b"}"

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        try:
            events = theirs.parse(message.body, secret, message.header("Webhook-Signature"))
        except theirs.InvalidSignatureError:
            return False
        return len(events) == 1
