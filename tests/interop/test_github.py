"""gidgethub, of PyPI."""

from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed

pytestmark = pytest.mark.interop


class TestGidgethub(Agreement):
    sender = "github"
    module = "gidgethub.sansio"
    distribution = "gidgethub"
    needed = ("X-Hub-Signature-256",)

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        value = message.header("X-Hub-Signature-256")
        try:
            theirs.validate_event(message.body, signature=value, secret=secret)
        except theirs.ValidationFailure:
            return False
        return True
