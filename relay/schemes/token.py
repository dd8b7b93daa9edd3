"""A shared token, sent with each message as it is. It proves who sends, and covers nothing else."""

import hashlib
import hmac
from collections.abc import Sequence

from relay.errors import Reason, Refusal
from relay.secret import Secret


class Token:
    """Verifies tokens by comparing them whole. White space and words like `Bearer` belong to them.

    Tokens are hashed before they are compared, since a comparison in constant time still shows
    whether the lengths differ. No token is kept.
    """

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._digests = tuple(Secret(_digest(secret.reveal())) for secret in secrets)

    def verify(self, message: bytes, signature: str) -> int:  # noqa: ARG002 - it is not covered
        """Return the position, from 0, of the secret that `signature` is. `message` is not read.

        signature: Latin-1 text, as header fields are.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it is none of them, or empty.
        """
        try:
            given = _digest(signature.encode("latin-1"))
        except UnicodeEncodeError:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "the token is not Latin-1 text") from None
        fits = [hmac.compare_digest(digest.reveal(), given) for digest in self._digests]
        if not (signature and any(fits)):
            raise Refusal(Reason.SIGNATURE_MISMATCH, "the token fits no secret")
        return fits.index(True)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
