"""Signing as a described sender does."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from relay.core.request import Verification
from relay.core.secret import Secret
from relay.providers import EndpointOptions, SampleOrder
from relay.providers.inline.provider import InlineProvider
from relay.providers.inline.signing import sign_ed25519
from tests.contracts.provider import delivery_of, outcome
from tests.providers.inline.describe import AT, described

# Samples that are signed with Ed25519.

PRIVATE_KEY_URL = "https://pay.example.com/in"
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def pem(key: Any, passphrase: bytes = b"") -> Secret:
    how: Any = serialization.NoEncryption()
    if passphrase:
        how = serialization.BestAvailableEncryption(passphrase)
    kind = serialization.PrivateFormat.PKCS8
    return Secret(key.private_bytes(serialization.Encoding.PEM, kind, how))


def public() -> Secret:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return Secret(KEY.public_key().public_bytes(serialization.Encoding.PEM, kind))


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_the_public_half_verifies(encoding: str) -> None:
    provider = InlineProvider(described(scheme="ed25519", encoding=encoding))
    sample = provider.sample(SampleOrder(PRIVATE_KEY_URL, pem(KEY), AT))
    inspector = provider.bind(EndpointOptions(secrets=(public(),)))
    assert isinstance(outcome(inspector, delivery_of(sample, PRIVATE_KEY_URL, AT)), Verification)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (Secret("text"), "openssl genpkey -algorithm ed25519"),
        (public(), "not a private Ed25519 key in PEM, but a PUBLIC KEY"),
        (pem(KEY, b"word"), "has a passphrase"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "is not an Ed25519 key"),
    ],
)
def test_what_is_no_such_key(key: Secret, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sign_ed25519(key, b"")
