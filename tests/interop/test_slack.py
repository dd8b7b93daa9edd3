"""slack-sdk, of PyPI."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.interop.agreement import Signed, SignsToo

pytestmark = pytest.mark.interop


class TestSlack(SignsToo):
    sender = "slack"
    module = "slack_sdk.signature"
    distribution = "slack-sdk"
    needed = ("X-Slack-Request-Timestamp", "X-Slack-Signature")

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        verifier = theirs.SignatureVerifier(secret)
        try:
            return bool(verifier.is_valid_request(message.body, message.headers))
        except ValueError:  # a time that is no number, and a body that is not UTF-8
            return False

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        at = str(int(message.at.timestamp()))
        verifier = theirs.SignatureVerifier(secret)
        signature = verifier.generate_signature(timestamp=at, body=message.body)
        return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": signature}
