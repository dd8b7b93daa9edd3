"""standardwebhooks and svix, of PyPI."""

from base64 import b64encode
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from tests.interop.agreement import Signed, SignsToo, text

pytestmark = pytest.mark.interop


class TestStandardWebhooks(SignsToo):
    sender = "standard-webhooks"
    module = "standardwebhooks"
    distribution = "standardwebhooks"
    needed = ("webhook-id", "webhook-timestamp", "webhook-signature")

    def secret(self, dice: Random) -> str:
        return "whsec_" + b64encode(dice.randbytes(dice.randrange(24, 64))).decode()

    def headers(self, dice: Random) -> dict[str, str]:
        return {"webhook-id": "msg_" + text(dice, 27)}

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        try:
            theirs.Webhook(secret).verify(message.body, dict(message.headers))
        except (theirs.WebhookVerificationError, ValueError):
            return False
        return True

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        written = str(int(message.at.timestamp()))
        signature = theirs.Webhook(secret).sign(
            msg_id=message.header("webhook-id"), timestamp=message.at, data=message.body.decode()
        )
        return {"webhook-timestamp": written, "webhook-signature": signature}


class TestSvix(TestStandardWebhooks):
    module = "svix.webhooks"
    distribution = "svix"
