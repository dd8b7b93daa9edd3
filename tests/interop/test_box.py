"""box-sdk-gen, of PyPI."""

from random import Random
from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed

pytestmark = pytest.mark.interop


class TestBox(Agreement):
    sender = "box"
    module = "box_sdk_gen.managers.webhooks"
    distribution = "box-sdk-gen"
    needed = ("BOX-SIGNATURE-PRIMARY", "BOX-DELIVERY-TIMESTAMP")

    def headers(self, dice: Random) -> dict[str, str]:
        return {"BOX-SIGNATURE-VERSION": "1", "BOX-SIGNATURE-ALGORITHM": "HmacSHA256"}

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        headers = {name.lower(): value for name, value in message.headers.items()}
        try:
            body = message.body.decode()
            return bool(theirs.WebhooksManager.validate_message(body, headers, secret))
        except (AttributeError, TypeError, ValueError):  # a time that is none, or no text
            return False
