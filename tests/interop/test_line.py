"""line-bot-sdk, of PyPI."""

from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed

pytestmark = pytest.mark.interop


class TestLine(Agreement):
    sender = "line"
    module = "linebot.v3"
    distribution = "line-bot-sdk"
    needed = ("X-Line-Signature",)

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        try:
            body = message.body.decode()
        except UnicodeDecodeError:
            return False
        validator = theirs.SignatureValidator(secret)
        return bool(validator.validate(body, message.header("X-Line-Signature")))
