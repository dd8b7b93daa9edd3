"""Signatures on what is forwarded (Standard Webhooks 1.0, symmetric `v1`)."""

import base64
import binascii
import hmac
from collections.abc import Iterable

from relay.secret import Secret

SHORTEST_KEY = 24
LONGEST_KEY = 64


class Signer:
    """Signs with one secret, or with several during a rotation.

    Raises:
        ValueError: there is no secret, or one of them is not Base64 of 24 to 64 bytes with an
            optional `whsec_` in front. The message names its position, never its value.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._keys = tuple(_key(at, secret) for at, secret in enumerate(secrets))
        if not self._keys:
            raise ValueError("signing needs at least one secret")

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Return the value of `webhook-signature`: one signature a secret, apart by spaces.

        timestamp: seconds since 1970, as in `webhook-timestamp`.
        """
        signed = f"{message_id}.{timestamp}.".encode() + body
        digests = (hmac.digest(key, signed, "sha256") for key in self._keys)
        return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def _key(position: int, secret: Secret) -> bytes:
    text = secret.reveal().removeprefix(b"whsec_")
    # The reference libraries take secrets without their padding, so people have such secrets.
    padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
    try:
        key = base64.b64decode(padded, validate=True)
    except binascii.Error:
        raise ValueError(f"signing secret {position} is not Base64") from None
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(
            f"signing secret {position} holds {len(key)} bytes;"
            f" Standard Webhooks asks for {SHORTEST_KEY} to {LONGEST_KEY}"
        )
    return key
