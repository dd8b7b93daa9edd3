"""discord-interactions, of PyPI."""

from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.interop.agreement import Agreement, Signed

pytestmark = pytest.mark.interop


class TestDiscord(Agreement):
    sender = "discord"
    module = "discord_interactions"
    distribution = "discord-interactions"
    needed = ("X-Signature-Ed25519", "X-Signature-Timestamp")

    def secret(self, dice: Random) -> str:
        key = Ed25519PrivateKey.from_private_bytes(dice.randbytes(32))
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def verifying(self, secret: str) -> str:
        key = load_pem_private_key(secret.encode(), None)
        assert isinstance(key, Ed25519PrivateKey)
        return key.public_key().public_bytes_raw().hex()

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        signature = message.header("X-Signature-Ed25519")
        at = message.header("X-Signature-Timestamp")
        return bool(theirs.verify_key(message.body, signature, at, self.verifying(secret)))
