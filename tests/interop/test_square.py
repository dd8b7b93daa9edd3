"""squareup, of PyPI."""

from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed

pytestmark = pytest.mark.interop


class TestSquare(Agreement):
    sender = "square"
    module = "square.utils.webhooks_helper"
    distribution = "squareup"
    needed = ("x-square-hmacsha256-signature",)

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        try:
            return bool(
                theirs.verify_signature(
                    request_body=message.body.decode(),
                    signature_header=message.header("x-square-hmacsha256-signature"),
                    signature_key=secret,
                    notification_url=message.url,
                )
            )
        except UnicodeDecodeError:
            return False
