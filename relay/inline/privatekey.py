"""Signing with Ed25519 as a sender does, for samples only."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.secret import Secret


def sign_ed25519(key: Secret, message: bytes) -> bytes:
    """Return the signature of a message, made with a private key in PEM.

    Raises:
        ValueError: it is no private Ed25519 key without a passphrase.
    """
    try:
        private = load_pem_private_key(key.reveal(), None)
    except TypeError:
        raise ValueError("the private key has a passphrase; give it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            "not a private Ed25519 key in PEM; give it with --key, and"
            " `openssl genpkey -algorithm ed25519 -out key.pem` makes one"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("the private key is not an Ed25519 key")  # noqa: TRY004 - a bad value
    return private.sign(message)
