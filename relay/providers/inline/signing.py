"""Sign as a described sender does."""

import hashlib
import hmac
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.core.secret import Secret
from relay.providers import SampleOrder
from relay.providers.inline import SignatureRule
from relay.providers.inline.verifiers import key, public_key_hash
from relay.signatures.public_key import instead, sign_rsa
from relay.signatures.shared_secret import basic_credentials


def sign_ed25519(key: Secret, message: bytes) -> bytes:
    """Sign a message with a private key in PEM.

    Raises:
        ValueError: it is no private Ed25519 key without a passphrase.
    """
    try:
        private = load_pem_private_key(key.reveal(), None)
    except TypeError:
        raise ValueError("the private key has a passphrase; give it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            f"not a private Ed25519 key in PEM{instead(key)}; give it with --key, and"
            " `openssl genpkey -algorithm ed25519 -out key.pem` makes one"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("the private key is not an Ed25519 key")  # noqa: TRY004 - a bad value
    return private.sign(message)


def signed(rule: SignatureRule, order: SampleOrder, filled: Sequence[bytes | None]) -> str:
    """Return the signature of a text as its sender writes it.

    filled: the parts of the text, with None where the secret belongs.

    Raises:
        ValueError: the secret is none that this rule can sign with.
    """
    if rule.scheme == "ed25519":
        return _written(sign_ed25519(order.secret, b"".join(part or b"" for part in filled)), rule)
    if rule.scheme == "rsa":
        text = b"".join(part or b"" for part in filled)
        signature = sign_rsa(order.secret, text, public_key_hash(rule))
        return _written(b64decode(signature), rule)
    secret = key(rule, order.secret).reveal()
    if rule.scheme == "token":
        return secret.decode("latin-1")
    if rule.scheme == "basic":
        return basic_credentials(Secret(secret))
    text = b"".join(secret if part is None else part for part in filled)
    if rule.scheme == "hmac":
        found = hmac.digest(secret, text, rule.algorithm)
    else:
        found = hashlib.new(rule.algorithm, text).digest()
    return _written(found, rule)


def _written(signature: bytes, rule: SignatureRule) -> str:
    if rule.encoding == "hex":
        return signature.hex()
    encode = b64encode if rule.encoding == "base64" else urlsafe_b64encode
    return encode(signature).decode("ascii")
