"""hubspot-api-client, of PyPI."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.interop.agreement import Signed, SignsToo

pytestmark = pytest.mark.interop


class TestHubSpot(SignsToo):
    sender = "hubspot"
    module = "hubspot.utils.signature"
    distribution = "hubspot-api-client"
    needed = ("X-HubSpot-Signature-v3", "X-HubSpot-Request-Timestamp")

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        try:
            return bool(
                theirs.Signature.is_valid(
                    message.header("X-HubSpot-Signature-v3"),
                    secret,
                    message.body.decode(),
                    http_uri=message.url,
                    http_method=message.method,
                    signature_version="v3",
                    timestamp=message.header("X-HubSpot-Request-Timestamp"),
                )
            )
        except (theirs.InvalidSignatureTimestampError, UnicodeDecodeError):
            return False

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        at = str(int(message.at.timestamp() * 1000))
        signature = theirs.Signature.get_signature(
            secret, message.body.decode(), "v3", message.url, message.method, at
        )
        return {"X-HubSpot-Request-Timestamp": at, "X-HubSpot-Signature-v3": signature}
