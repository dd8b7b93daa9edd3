"""sendgrid, of PyPI."""

from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from tests.interop.agreement import Agreement, Signed, json_body
from tests.senders.files import base64

pytestmark = pytest.mark.interop


class TestSendGrid(Agreement):
    sender = "sendgrid"
    module = "sendgrid"
    distribution = "sendgrid"
    needed = (
        "X-Twilio-Email-Event-Webhook-Signature",
        "X-Twilio-Email-Event-Webhook-Timestamp",
    )

    def secret(self, dice: Random) -> str:
        key = ec.derive_private_key(dice.getrandbits(250) + 1, ec.SECP256R1())
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def verifying(self, secret: str) -> str:
        key = load_pem_private_key(secret.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        found = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64(found)

    def body(self, dice: Random) -> bytes:
        """A list of events, with a line break behind it."""
        return b"[" + b",".join(json_body(dice) for _ in range(dice.randrange(1, 4))) + b"]\r\n"

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        try:
            return bool(
                theirs.EventWebhook(self.verifying(secret)).verify_signature(
                    message.body.decode(),
                    message.header("X-Twilio-Email-Event-Webhook-Signature"),
                    message.header("X-Twilio-Email-Event-Webhook-Timestamp"),
                )
            )
        except ValueError:  # not UTF-8, and no Base64
            return False
