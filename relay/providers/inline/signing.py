"""Sign as a described sender does."""

import hashlib
import hmac
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Sequence

from relay.core.secret import Secret
from relay.providers import SampleOrder
from relay.providers.inline import PUBLIC_KEY_SCHEMES, SignatureRule
from relay.providers.inline.filled import Filled, with_secret
from relay.providers.inline.verifiers import key, public_key_hash
from relay.signatures.private_key import sign_ecdsa, sign_ed25519, sign_rsa
from relay.signatures.shared_secret import basic_credentials


def signed(rule: SignatureRule, order: SampleOrder, filled: Sequence[Filled]) -> str:
    """Return the signature of a text as its sender writes it.

    filled: the parts of the text.

    Raises:
        ValueError: the secret is none that this rule can sign with.
    """
    if rule.scheme in PUBLIC_KEY_SCHEMES:
        text = with_secret(filled, b"")
        return _written(_with_private_key(rule, order.secret, text), rule)
    secret = key(rule, order.secret).reveal()
    if rule.scheme == "token":
        return secret.decode("latin-1")
    if rule.scheme == "basic":
        return basic_credentials(Secret(secret))
    text = with_secret(filled, secret)
    if rule.scheme == "hmac":
        found = hmac.digest(secret, text, rule.algorithm)
    else:
        found = hashlib.new(rule.algorithm, text).digest()
    return _written(found, rule)


def _with_private_key(rule: SignatureRule, key: Secret, text: bytes) -> bytes:
    if rule.scheme == "ed25519":
        return sign_ed25519(key, text)
    if rule.scheme == "ecdsa":
        return sign_ecdsa(key, text, public_key_hash(rule))
    return b64decode(sign_rsa(key, text, public_key_hash(rule)))


def _written(signature: bytes, rule: SignatureRule) -> str:
    if rule.encoding == "hex":
        return signature.hex()
    encode = b64encode if rule.encoding == "base64" else urlsafe_b64encode
    return encode(signature).decode("ascii")
