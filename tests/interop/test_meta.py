"""pywa, of PyPI."""

from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed

pytestmark = pytest.mark.interop


class TestMeta(Agreement):
    sender = "meta"
    module = "pywa.utils"
    distribution = "pywa"
    needed = ("X-Hub-Signature-256",)

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        signature = message.header("X-Hub-Signature-256")
        return bool(theirs.webhook_updates_validator(secret, message.body, signature))
